/** Lets a language model go on with a text, one token at a time: to look at what was learnt, not to serve it. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { Attention, Decoding, Embedding } from '../layers/index.ts';
import { type SamplingOptions, sample, seededRandom } from './sampling.ts';

export interface GenerateOptions extends SamplingOptions {
  /** How many tokens at most. @default 64 */
  readonly maxTokens?: number;
  /** Tokens that end the text; they are part of it. Mostly the tokenizer's end of sequence. @default none */
  readonly stop?: readonly number[];
  /** The same seed draws the same text. @default a new one each time */
  readonly seed?: number;
  /** Called with each token as it comes; awaited. */
  readonly onToken?: (token: number) => void | Promise<void>;
  /** Ends generation before the next token, with the signal's reason. */
  readonly signal?: AbortSignal;
}

/**
 * The tokens with which `model` goes on after `prompt`, without those of the prompt. Keys and values of earlier tokens are kept, so a
 * token costs one forward of one token; they are freed at the end, also of a failure.
 *
 * @throws FinetuneError `bad-option` for an empty prompt or options out of range, `bad-model` for what is no language model, `busy`
 *   while the model generates another text
 *
 * @example
 * const story = await generate(model, tokenizer.encode('Once upon a time'), { temperature: 0.8, topP: 0.9 });
 * console.log(tokenizer.decode(story));
 */
export async function generate(model: LayersModel, prompt: readonly number[], options: GenerateOptions = {}): Promise<number[]> {
  const { maxTokens = 64, stop = [], seed = Math.floor(Math.random() * 2 ** 31), onToken, signal } = options;
  checkOptions(model, prompt, { ...options, maxTokens });
  const layers = model.layers.filter((layer) => layer instanceof Attention || layer instanceof Embedding);
  if (layers.some(({ decoding }) => decoding)) {
    throw new FinetuneError('busy', 'generate', 'this model generates another text; expected one at a time. Await the other first.');
  }
  const decoding = new Decoding();
  const random = seededRandom(seed);
  const made: number[] = [];
  for (const layer of layers) layer.decoding = decoding;
  try {
    let next = [...prompt];
    while (made.length < maxTokens) {
      signal?.throwIfAborted();
      const token = sample(await lastLogits(model, next, decoding), options, random);
      made.push(token);
      await onToken?.(token);
      if (stop.includes(token)) break;
      next = [token];
    }
    return made;
  } finally {
    for (const layer of layers) layer.decoding = undefined;
    decoding.dispose();
  }
}

/** Runs the tokens that are new; returns the logits after the last. */
async function lastLogits(model: LayersModel, tokens: readonly number[], decoding: Decoding): Promise<ArrayLike<number>> {
  const logits = tf.tidy(() => {
    const ids = tf.tensor2d([tokens as number[]], [1, tokens.length], 'int32');
    const seen = model.inputs.slice(1).map(() => tf.ones([1, decoding.length + tokens.length], 'int32'));
    const all = model.apply([ids, ...seen]) as tf.Tensor3D; // [1, tokens, vocabulary]
    return tf.reshape(tf.slice(all, [0, tokens.length - 1, 0], [1, 1, -1]), [-1]);
  });
  decoding.length += tokens.length;
  const values = await logits.data();
  logits.dispose();
  return values;
}

function checkOptions(model: LayersModel, prompt: readonly number[], options: GenerateOptions): void {
  const { temperature = 0, topK = 1, topP = 1, maxTokens = 0 } = options;
  const faults = [
    prompt.length === 0 && 'an empty prompt; expected at least one token, such as the beginning of sequence',
    !(temperature >= 0 && Number.isFinite(temperature)) && `temperature ${temperature}; expected 0 or more`,
    !(Number.isInteger(topK) && topK >= 1) && `topK ${topK}; expected a whole number above 0`,
    !(topP > 0 && topP <= 1) && `topP ${topP}; expected above 0, at most 1`,
    !(Number.isInteger(maxTokens) && maxTokens >= 0) && `maxTokens ${maxTokens}; expected a whole number, 0 or more`,
  ].filter((fault) => fault !== false);
  if (faults.length > 0) throw new FinetuneError('bad-option', 'generate', `got ${faults.join(', and ')}.`);
  const names = model.inputNames;
  if (
    model.outputs[0]!.shape.length !== 3 ||
    names[0] !== 'input_ids' ||
    names.some((name) => !/^(input_ids|attention_mask)$/.test(name))
  ) {
    const advice = "Load it with task: 'causal-lm'; of a loss model, give the model that it was made of.";
    throw new FinetuneError(
      'bad-model',
      'generate',
      `got a model of ${names.join(', ')}; expected a language model of input_ids. ${advice}`,
    );
  }
}
