/** Reshapes and casts that change nothing are second handles on one buffer, and every op reads each in its own shape. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { adamWStep } from '../../src/tensorflow/index.ts';

await describeOn('tensorflow', () => {
  let start = 0;
  beforeEach(async () => {
    await useBackend('tensorflow');
    start = tf.memory().numTensors;
  });
  afterEach(() => expect(tf.memory().numTensors, 'tensors left behind').toBe(start));

  test.each<[string, number[], (x: tf.Tensor) => tf.Tensor]>([
    ['reshape', [4, 6], (x) => tf.reshape(x, [4, 6])],
    ['reshape to what is left', [2, 12], (x) => tf.reshape(x, [2, -1])],
    ['a reshape of a reshape', [3, 8], (x) => tf.reshape(tf.reshape(x, [24]), [3, 8])],
    ['squeeze', [24], (x) => tf.squeeze(tf.reshape(x, [1, 24, 1]))],
    ['expandDims', [1, 2, 3, 4], (x) => tf.expandDims(x)],
    ['expandDims from the end', [2, 3, 4, 1], (x) => tf.expandDims(x, -1)],
    ['expandDims in the middle', [2, 3, 1, 4], (x) => tf.expandDims(x, 2)],
    ['a cast to the type there is', [2, 3, 4], (x) => tf.cast(x, 'float32')],
  ])('%s: the same data in shape %j, whatever reads it', (_, shape, f) =>
    tf.tidy(() => {
      const values = Array.from({ length: 24 }, (_, i) => i);
      for (const x of [tf.tensor(values, [2, 3, 4]), tf.add(tf.tensor(values, [2, 3, 4]), 0)]) {
        const y = f(x);
        expect(y.dataId).toBe(x.dataId);
        expect(y.shape).toEqual(shape);
        expect(Array.from(y.dataSync())).toEqual(values);
        for (const op of [tf.neg, tf.softmax, (t: tf.Tensor) => tf.concat([t, t], -1), (t: tf.Tensor) => tf.sum(t, -1)] as const) {
          const [received, expected] = [op(y), op(tf.tensor(values, shape))];
          expect(received.shape).toEqual(expected.shape);
          expect(received.dataSync()).toEqual(expected.dataSync());
        }
        expect(tf.neg(x).shape).toEqual([2, 3, 4]);
      }
    }),
  );

  test.each(['int32', 'bool', 'string', 'complex64'] as const)('%s too', (dtype) =>
    tf.tidy(() => {
      const x =
        dtype === 'complex64'
          ? tf.complex(tf.tensor([1, 2, 3, 4]), tf.tensor([5, 6, 7, 8]))
          : tf.tensor(dtype === 'string' ? ['a', 'b', 'c', 'd'] : [1, 0, 1, 1], [4], dtype);
      const y = tf.reshape(x, [2, 2]);
      expect(y.dataId).toBe(x.dataId);
      const [first] = tf.unstack(y);
      expect(first!.shape).toEqual([2]);
      expect(Array.from(first!.dataSync())).toEqual(Array.from(x.dataSync()).slice(0, dtype === 'complex64' ? 4 : 2));
    }),
  );

  test('a shape of another size is refused', () => {
    const x = tf.ones([2, 3]);
    expect(() => tf.reshape(x, [4])).toThrow('Size(6) must match the product of shape 4');
    x.dispose();
  });

  test('a handle outlives the tensor it was made of, and the last one frees the data', () => {
    const buffers = tf.memory().numDataBuffers;
    const x = tf.tensor([1, 2, 3, 4]);
    const y = tf.reshape(x, [2, 2]);
    x.dispose();
    const product = tf.matMul(y as tf.Tensor2D, y as tf.Tensor2D);
    expect(Array.from(product.dataSync())).toEqual([7, 10, 15, 22]);
    product.dispose();
    expect(tf.memory().numDataBuffers).toBe(buffers + 1);
    y.dispose();
    expect(tf.memory().numDataBuffers).toBe(buffers);
  });

  test('a weight made by a reshape is moved in place, and then read in every shape', () => {
    const w = tf.tidy(() => tf.variable(tf.reshape(tf.add(tf.zeros([6]), 1), [2, 3])));
    const data = w.dataId;
    tf.tidy(() => {
      const [m, v] = [tf.variable(tf.zerosLike(w)), tf.variable(tf.zerosLike(w))];
      for (let i = 0; i < 2; i++) adamWStep(w, m, v, tf.ones([2, 3]), { alpha: 0.1, epsilon: 0, beta1: 0, beta2: 0 });
      tf.dispose([m, v]);
      for (const shape of [[6], [2, 3], [3, 2]]) {
        const sums = tf.sum(tf.reshape(w, shape), -1);
        expect(sums.shape).toEqual(shape.slice(0, -1));
        for (const sum of sums.dataSync()) expect(sum).toBeCloseTo(0.8 * shape.at(-1)!, 5); // twice by -0.1 · sign(1)
      }
    });
    expect(w.dataId).toBe(data);
    w.dispose();
  });
});
