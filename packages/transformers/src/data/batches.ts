/** Batches for `fitDataset`: rows as they are, or texts of about the same length together, so that little is padding. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { seededRandom } from '../generation/sampling.ts';
import { type Example, IGNORED, labelsOf } from './example.ts';
import type { Row } from './pack.ts';

/** A batch as `fitDataset` of a loss model takes it. (A type, since only those are containers of tensors to TypeScript.) */
export type LanguageBatch = {
  /** What the model reads, by the names of its inputs: int32 [n, T] each. */
  readonly xs: { [input: string]: tf.Tensor2D };
  /** Zeros [n, 2]: the losses are an output. */
  readonly ys: tf.Tensor2D;
};

/** Options of {@link languageBatches}. */
export interface BatchOptions {
  readonly batchSize: number;
  /** Fills rows up to the longest of their batch. @default 0 */
  readonly padding?: number;
  /** Order of the batches: the same seed, the same order. @default as given */
  readonly seed?: number;
}

/**
 * Texts by length: sorted, cut into batches, and each batch padded to its own longest text.
 *
 * @example
 * const batches = byLength(examples, { batchSize: 8 });
 * await trainer.fitDataset(tf.data.generator(() => languageBatches(trainer, batches)), { epochs: 3 });
 */
export function byLength(examples: readonly Example[], { batchSize, padding = 0, seed }: BatchOptions): Row[][] {
  const sorted = [...examples].sort((a, b) => a.ids.length - b.ids.length);
  const batches = Array.from({ length: Math.ceil(sorted.length / batchSize) }, (_, i) => {
    const texts = sorted.slice(i * batchSize, (i + 1) * batchSize);
    const length = texts.at(-1)!.ids.length;
    const fill = (values: readonly number[], value: number) => [...values, ...Array.from({ length: length - values.length }, () => value)];
    return texts.map((text) => ({
      ids: fill(text.ids, padding),
      labels: fill(labelsOf(text), IGNORED),
      mask: fill(
        text.ids.map(() => 1),
        0,
      ),
    }));
  });
  return seed === undefined ? batches : shuffled(batches, seed);
}

/** Fisher and Yates. */
function shuffled<T>(items: readonly T[], seed: number): T[] {
  const [random, mixed] = [seededRandom(seed), [...items]];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [mixed[i], mixed[j]] = [mixed[j]!, mixed[i]!];
  }
  return mixed;
}

const columns: { readonly [input: string]: keyof Row } = { input_ids: 'ids', attention_mask: 'mask', labels: 'labels' };

/**
 * Tensors of batches for a {@link lossModel}, one batch at a time; `fitDataset` disposes them.
 *
 * @throws FinetuneError `bad-option` for rows of several texts and a model without `attention_mask`, whose texts would see each other
 */
export function* languageBatches(model: LayersModel, batches: Iterable<readonly Row[]>): Generator<LanguageBatch, void> {
  for (const rows of batches) {
    if (!model.inputNames.includes('attention_mask') && rows.some(({ mask }) => mask.some((text) => text > 1))) {
      const advice = "Load the model with inputs: ['input_ids', 'attention_mask'].";
      throw new FinetuneError('bad-option', 'languageBatches', `got packed rows for a model without attention_mask. ${advice}`);
    }
    const matrix = (field: keyof Row) =>
      tf.tensor2d(
        rows.map((row) => row[field] as number[]),
        undefined,
        'int32',
      );
    yield { xs: Object.fromEntries(model.inputNames.map((name) => [name, matrix(columns[name]!)])), ys: tf.zeros([rows.length, 2]) };
  }
}
