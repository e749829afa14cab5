/** Blocks that are ops of our own on tensorflow, held to the ops that they stand for, on cpu. */
import { useBackend } from '@leantune/backends';
import { valueAndGrads } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { attention, gelu, layerNorm } from '../src/index.ts';

const random = (shape: number[], seed: number): tf.Tensor => tf.randomNormal(shape, 0, 1, 'float32', seed);

/** The largest difference, in units of the largest value. */
function distance(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  const size = b.reduce((most, y) => Math.max(most, Math.abs(y)), 1e-30);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - b[i]!)), 0) / size;
}

/** The value and gradients of `f` on a backend, weighted by a tensor of the result's shape. */
async function gradientsOn(backend: 'cpu' | 'tensorflow', shapes: readonly number[][], f: (...x: tf.Tensor[]) => tf.Tensor) {
  await useBackend(backend);
  const before = tf.memory().numTensors;
  const all = tf.tidy(() => {
    const xs = shapes.map((shape, i) => random(shape, i + 1));
    const y = f(...xs);
    const dxs = tf.grads(f as (...x: tf.Tensor[]) => tf.Tensor)(xs, random(y.shape, 9));
    return [y, ...dxs].map((t) => t.dataSync<'float32'>().slice());
  });
  expect(tf.memory().numTensors).toBe(before);
  return all;
}

async function expectSame(shapes: readonly number[][], f: (...x: tf.Tensor[]) => tf.Tensor, bound = 2e-6): Promise<void> {
  const expected = await gradientsOn('cpu', shapes, f);
  const got = await gradientsOn('tensorflow', shapes, f);
  got.forEach((of, i) => expect(distance(of, expected[i]!)).toBeLessThan(bound));
}

await describeOn('tensorflow', () => {
  beforeAll(() => useBackend('tensorflow').then(() => undefined));

  test('are there: the addon was built', () => {
    for (const kernel of ['LayerNorm', 'LayerNormGrad', 'Gelu', 'GeluGrad', 'Attention', 'AttentionGrad', 'Relu6Mask', 'SoftmaxGrad'])
      expect(tf.getKernel(kernel, 'tensorflow')?.kernelName).toBe(kernel);
  });

  test.each([[[3, 5]], [[2, 7, 16]], [[70, 33]], [[1, 384]]])('layer norm of %j', (shape) => {
    const n = shape.at(-1)!;
    return expectSame([shape, [n], [n]], (x, w, b) => layerNorm(x!, w!, b!, 1e-5), 1e-5);
  });

  test.each([['weight', 'bias'], ['bias'], ['x']])('of layer norm only the gradients that are wanted: %s %s', async (...wanted) => {
    const of = async (backend: 'cpu' | 'tensorflow') => {
      await useBackend(backend);
      const before = tf.memory().numTensors;
      const values = { x: random([6, 5], 1), weight: random([5], 2), bias: random([5], 3) };
      const trained = Object.fromEntries(wanted.map((name) => [name, tf.variable(values[name as 'x'])]));
      const { x, weight, bias } = { ...values, ...trained };
      const { value, grads } = valueAndGrads(
        () => tf.tidy(() => tf.sum(tf.square(layerNorm(x, weight, bias, 1e-5)))),
        Object.values(trained),
      );
      const found = wanted.map((name) => grads[trained[name]!.name]!.dataSync<'float32'>().slice());
      tf.dispose([value, grads, values, trained]);
      expect(tf.memory().numTensors).toBe(before);
      return found;
    };
    const expected = await of('cpu');
    (await of('tensorflow')).forEach((gradient, i) => expect(distance(gradient, expected[i]!)).toBeLessThan(1e-5));
  });

  test.each([true, false])('GELU, approximate: %s, also far from 0', (approximate) =>
    expectSame([[5, 37]], (x) => gelu(tf.mul(x!, 5), approximate)),
  );

  test.each([
    ['whole', {}, 7, 7],
    ['causal', { causal: true }, 70, 70],
    ['causal with a window', { causal: true, window: 3 }, 60, 60],
    ['fewer queries than keys', { causal: true }, 5, 53],
    ['heads that share keys', { kvHeads: 2 }, 9, 9],
    ['heads of 5 values', { size: 5 }, 6, 6],
    ['padding and two documents', { mask: [1, 1, 1, 2, 2, 0, 1, 1, 0, 0, 0, 0] }, 6, 6],
  ] as const)('attention: %s', (_, given, queries, keys) => {
    const {
      causal = false,
      window = 0,
      kvHeads = 4,
      size = 16,
      mask,
    } = given as { [name: string]: never } & {
      readonly causal?: boolean;
      readonly mask?: readonly number[];
    };
    const f = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) =>
      attention(q, k, v, mask && tf.tensor2d([...mask], [2, keys], 'int32'), { heads: 4, kvHeads, scale: 0.3, causal, window });
    const their = [2, keys, kvHeads * size];
    return expectSame([[2, queries, 4 * size], their, their], f as (...x: tf.Tensor[]) => tf.Tensor, 1e-5);
  });

  test('an op says which inputs do not fit, and leaves nothing behind', () => {
    const before = tf.memory().numTensors;
    const run = () =>
      tf.tidy(() =>
        attention(random([2, 3, 8], 1), random([2, 3, 6], 2), random([2, 3, 6], 3), undefined, {
          heads: 2,
          kvHeads: 2,
          scale: 1,
          causal: false,
          window: 0,
        }),
      );
    expect(run).toThrow('queries, keys, values and mask do not fit each other');
    expect(tf.memory().numTensors).toBe(before);
  });
});
