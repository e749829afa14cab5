/** Refuses what a table has no row for: tfjs's gather would read past its end. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';

/** @throws FinetuneError `bad-option` for a text longer than the model's positions */
export function refuseLong(needed: number, size: number, before: number, layer: string): void {
  if (needed <= size) return;
  const advice = 'Cut the text, or split it into pieces.';
  throw new FinetuneError(
    'bad-option',
    'transformers',
    `got ${needed - before} tokens; expected at most ${size - before}, the positions of "${layer}". ${advice}`,
  );
}

/**
 * The tokens, if all have a row. Reads them where that costs nothing; on a GPU a token out of range gives zeros.
 *
 * @throws FinetuneError `bad-option` for tokens that are not in the vocabulary
 */
export function refuseUnknown(tokens: tf.Tensor, size: number, layer: string): tf.Tensor {
  if (!/^(cpu|wasm|tensorflow)$/.test(tf.getBackend())) return tokens;
  const bad = [...new Set(tokens.dataSync().filter((id: number) => !(id >= 0 && id < size)))];
  if (bad.length === 0) return tokens;
  throw new FinetuneError(
    'bad-option',
    'transformers',
    `got token(s) ${bad.slice(0, 8).join(', ')}; expected 0 to ${size - 1}, the rows of "${layer}". Use the tokenizer of this model.`,
  );
}
