import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clipByGlobalNorm } from '../src/optimizers/clip.ts';
import fixture from './fixtures/adamw.json' with { type: 'json' };

let before: number;
beforeEach(() => {
  before = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(before));

test.each(fixture.clip)('clipping to $bound equals torch.nn.utils.clip_grad_norm_', async ({ bound, gradients, clipped }) => {
  const result = clipByGlobalNorm(Object.fromEntries(gradients.map((g, i) => [`g${i}`, tf.tensor(g)])), bound);
  for (const [i, expected] of clipped.entries()) {
    const got = await result[`g${i}`]!.data();
    for (const [j, x] of expected.flat().entries()) expect(Math.abs(got[j]! - x)).toBeLessThanOrEqual(4 * 2 ** -24 * Math.abs(x)); // a few roundings of float32
  }
  tf.dispose(result);
});

test('short gradients come back as the very same tensors', () => {
  const gradients = { a: tf.tensor1d([3]), b: tf.tensor1d([4]) };
  expect(clipByGlobalNorm(gradients, 5.1)).toBe(gradients);
  expect(clipByGlobalNorm({}, 1)).toEqual({});
  tf.dispose(gradients);
});

test('clipped gradients are new and the old ones are disposed, never more than one of them twice in memory', async () => {
  const size = 1000;
  const gradients = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`g${i}`, tf.randomNormal([size], 0, 1, 'float32', i)]));
  const bytes = tf.memory().numBytes;
  const { peakBytes, result } = await tf.profile(() => clipByGlobalNorm(gradients, 1));
  expect(Object.values(gradients).every((g) => g.isDisposed)).toBe(true);
  expect(peakBytes - bytes).toBeLessThan(1.1 * 4 * size);
  tf.dispose(result);
});

test('a norm that is not finite is an error naming the gradients, which stay untouched', () => {
  const gradients = { good: tf.tensor1d([1]), bad: tf.tensor1d([Number.NaN, 1]), worse: tf.tensor1d([Infinity]) };
  expect(() => clipByGlobalNorm(gradients, 1)).toThrowErrorMatchingInlineSnapshot(
    `[FinetuneError: [clipByGlobalNorm] the global norm is NaN, from bad, worse. Skip this step, lower the learning rate, or scale the loss down.]`,
  );
  expect(Object.values(gradients).some((g) => g.isDisposed)).toBe(false);
  tf.dispose(gradients);
});

test('gradients that overflow only together are said to', () => {
  const gradients = { a: tf.fill([3], 1e19), b: tf.fill([3], 1e19) };
  expect(() => clipByGlobalNorm(gradients, 1)).toThrow('together they overflow float32');
  tf.dispose(gradients);
});

test('a bound that is not positive is refused', () => {
  for (const norm of [0, -1, Number.NaN]) expect(() => clipByGlobalNorm({}, norm)).toThrow(`got norm = ${norm}; expected a number > 0`);
});
