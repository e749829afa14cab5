/** Gradients that gather in place, on the backend that can: the same bits, one tensor less, and nothing else changes. */
import { useBackend } from '@leantune/backends';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { gradients, measure } from '../src/index.ts';

beforeAll(async () => {
  await useBackend('wasm');
});

const normal = (seed: number) => tf.randomNormal([64, 64], 0, 1, 'float32', seed);
const values = (t: tf.Tensor) => Array.from(t.dataSync());

test('the sum of four paths has the bits of tfjs, and takes one tensor less than a sum beside its parts', () => {
  const [x, ...weights] = [1, 2, 3, 4, 5].map(normal) as [tf.Tensor, ...tf.Tensor[]];
  const f = (v: tf.Tensor) => weights.slice(1).reduce((sum, w) => tf.tidy(() => tf.add(sum, tf.mul(v, w))), tf.mul(v, weights[0]!));
  /** The most in the second half of what happens, which is backward. */
  const backward = () => {
    const { memory } = measure(() => {
      const { value, grads } = gradients(() => tf.tidy(() => f(x).sum()), [x]);
      tf.dispose([value, grads[0]!]);
    });
    const { timeline } = memory;
    return Math.max(...timeline.slice(timeline.length / 2).map(({ gradients: own, transient }) => own + transient));
  };
  const { grads } = gradients(() => f(x).sum(), [x]);
  expect(values(grads[0]!)).toEqual(values(tf.grad((v) => f(v).sum())(x)));
  const inPlace = backward();
  const kernel = tf.getKernel('AddTo', 'wasm');
  tf.unregisterKernel('AddTo', 'wasm');
  try {
    expect(backward() - inPlace).toBe(4 * x.size);
  } finally {
    tf.registerKernel(kernel);
  }
});

test('a gradient that two inputs share is not added to', () => {
  const [a, b, w] = [normal(1), normal(2), normal(3)];
  // dy of the inner sum goes to a and to b as it is; b then gets more
  const f = (u: tf.Tensor, v: tf.Tensor) => tf.add(tf.mul(v, w), tf.add(u, v)).mul(w).sum();
  const { grads } = gradients(() => f(a, b), [a, b]);
  for (const [i, expected] of tf.grads(f)([a, b]).entries()) expect(values(grads[i]!)).toEqual(values(expected));
});

test('what the caller gives as dy, and second derivatives, are left alone', () => {
  const [x, w, dy] = [normal(1), normal(2), normal(3)];
  const before = values(dy);
  gradients(() => tf.add(x, tf.add(tf.mul(x, w), x)), [x], dy);
  expect(values(dy)).toEqual(before);
  const inner = () => tf.add(tf.mul(tf.square(x), w), tf.mul(tf.square(x), x)).sum();
  const { grads } = gradients(() => gradients(inner, [x]).grads[0]!.sum(), [x]);
  const expected = tf.tidy(() => tf.add(tf.mul(w, 2), tf.mul(x, 6)));
  expect(tf.max(tf.abs(tf.sub(grads[0]!, expected))).dataSync()[0]).toBeLessThan(1e-4);
});
