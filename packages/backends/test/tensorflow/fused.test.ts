/** What core's gradient rules get from fused kernels of tensorflow is what they get from ops on cpu. */
import { valueAndGrads } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { distance, random } from '../compare.ts';
import { batchNormLoss, batchNormVariables, expectGradientsOfCpu, variable } from '../fused-gradients.ts';

const weighted =
  (f: (x: tf.Tensor) => tf.Tensor) =>
  ([x, w]: tf.Variable[]) =>
    tf.sum(tf.mul(f(x!), w!)) as tf.Scalar;
const expectSame = (make: () => tf.Variable[], loss: (v: tf.Variable[]) => tf.Scalar, kernel?: string) =>
  expectGradientsOfCpu('tensorflow', 1e-6, make, loss, kernel);

await describeOn('tensorflow', () => {
  beforeAll(() => useBackend('tensorflow').then(() => undefined));

  test.each([
    ['ReluGrad', tf.relu],
    ['TanhGrad', tf.tanh],
    ['SigmoidGrad', tf.sigmoid],
    ['ErfGrad', tf.erf],
  ] as const)('%s, of any rank, beside tfjs on the same backend', (kernel, f) => {
    const runKernel = vi.spyOn(tf.engine(), 'runKernel');
    for (const shape of [[], [7], [3, 5], [2, 3, 4, 5], [2, 1, 3, 1, 2]]) {
      const variables = [variable(shape, 1), variable(shape, 2)];
      const loss = () => weighted(f)(variables);
      const stock = tf.variableGrads(loss, variables);
      const before = tf.memory().numTensors;
      const { value, grads } = valueAndGrads(loss, variables);
      expect(runKernel.mock.calls.at(-1)![0]).toBe(kernel);
      for (const { name } of variables) expect(distance(grads[name]!.dataSync(), stock.grads[name]!.dataSync())).toBeLessThan(1e-6);
      tf.dispose([value, grads]);
      expect(tf.memory().numTensors).toBe(before);
      tf.dispose([variables, stock.value, stock.grads]);
    }
    runKernel.mockRestore();
  });

  test('relu of a dy that is to be broadcast', () =>
    expectSame(
      () => [variable([4, 6], 1), variable([4], 2)],
      ([x, w]) => tf.sum(tf.mul(tf.mean(tf.relu(x!), 1), w!)),
    ));

  test('relu at zero and at infinities is that of tfjs', () => {
    const x = tf.variable(tf.tensor([-Infinity, -0, 0, 1e-30, Infinity]));
    const { value, grads } = valueAndGrads(() => tf.sum(tf.mul(tf.relu(x), [1, 2, 3, 4, 5])), [x]);
    expect([...grads[x.name]!.dataSync()]).toEqual([0, 0, 0, 4, 5]);
    tf.dispose([x, value, grads]);
  });

  test('second derivatives go by ops', () =>
    expectSame(
      () => [variable([3, 4], 1), variable([3, 4], 2)],
      ([x, w]) => tf.sum(tf.mul(tf.grad((x) => tf.tanh(tf.relu(x)))(x!), w!)),
    ));

  test.each([8, 3, 1])('batch norm of %i channels in training: gradients of x, mean, variance, scale and offset', (c) =>
    expectSame(() => batchNormVariables(c), batchNormLoss, 'FusedBatchNormGrad'),
  );

  test.each([true, false])('batch norm with frozen statistics, with scale and offset: %s', (affine) =>
    expectSame(
      () => [variable([2, 3, 4, 5], 1), variable([5], 2), variable([5], 3), variable([2, 3, 4, 5], 4)],
      ([x, scale, offset, w]) => {
        const [mean, variance] = [tf.tensor1d([0, 1, -1, 0.5, 2]), tf.tensor1d([1, 0.5, 2, 1e-4, 3])];
        const y = affine
          ? tf.batchNorm(x as tf.Tensor4D, mean, variance, offset as never, scale as never, 1e-3)
          : tf.batchNorm(tf.mul(x!, tf.add(scale!, offset!)) as tf.Tensor4D, mean, variance, undefined, undefined, 1e-3);
        return tf.sum(tf.mul(y, w!));
      },
      'FusedBatchNormGrad',
    ),
  );

  test.each([
    [[6, 5], [5]],
    [
      [2, 3, 4, 5],
      [1, 1, 1, 5],
    ],
    [[5001, 3], [3]],
    [[3, 64, 1], [1]],
  ])('a product of %j and one value a channel, %j', (shape, channels) =>
    expectSame(
      () => [variable(shape, 1), variable(channels, 2), variable(shape, 3)],
      ([x, k, w]) => tf.sum(tf.mul(tf.mul(x!, k!), w!)),
      'SumOfProducts',
    ),
  );

  test('a product with a factor of other shapes goes by ops', () =>
    expectSame(
      () => [variable([2, 3, 4], 1), variable([3, 1], 2), variable([4], 3), variable([2, 1, 4], 4)],
      ([x, a, b, c]) => tf.sum(tf.mul(tf.mul(tf.mul(a!, b!), c!), x!)),
    ));

  test.each([tf.sum, tf.mean])('sums and means over all axes but the last, with those beside', (reduce) => {
    for (const shape of [
      [0, 3],
      [7, 1],
      [6, 5],
      [5, 7, 9, 3],
      [2, 2, 2, 2, 3],
    ])
      for (const keepDims of [false, true])
        for (const axes of [shape.slice(1).map((_, i) => i), shape.slice(1).map((_, i) => i - shape.length), [0], [shape.length - 1]]) {
          const [x, doubles] = tf.tidy(() => {
            const x = tf.keep(tf.tensor(random(shape, 1).data, shape));
            return [x, tf.util.sizeFromShape(shape) > 0 ? reduceOnCpu(reduce, x, axes) : undefined];
          });
          const y = reduce(x, axes, keepDims);
          if (doubles) expect(distance(y.dataSync(), doubles)).toBeLessThan(1e-6);
          expect(y.shape).toEqual(
            shape.flatMap((d, i) => (axes.some((a) => (a + shape.length) % shape.length === i) ? (keepDims ? [1] : []) : [d])),
          );
          tf.dispose([x, y]);
        }
  });
});

/** In double precision. */
function reduceOnCpu(reduce: typeof tf.sum, x: tf.Tensor, axes: number[]): number[] {
  const order = x.shape.map((_, i) => i);
  const gone = axes.map((a) => (a + x.rank) % x.rank);
  const rows = gone.reduce((n, a) => n * x.shape[a]!, 1);
  const flat = tf.reshape(tf.transpose(x, [...order.filter((i) => !gone.includes(i)), ...gone]), [-1, rows]).arraySync() as number[][];
  return flat.map((row) => row.reduce((a, b) => a + b, 0) / (reduce === tf.sum ? 1 : rows));
}
