/** Kernels that move values: int32 of 31 bits, and float32 of five and six axes, against cpu, bit for bit. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';

/** Distinct values, of which float32 holds hardly one. */
const whole = (shape: number[]): tf.Tensor =>
  tf.tensor(
    Int32Array.from({ length: tf.util.sizeFromShape(shape) }, (_, i) => (i % 2 ? -1 : 1) * (2 ** 30 + 1 + 7 * i)),
    shape,
    'int32',
  );
const floats = (shape: number[]): tf.Tensor =>
  tf.tensor(
    Float32Array.from({ length: tf.util.sizeFromShape(shape) }, (_, i) => i / 3),
    shape,
  );

async function on(backend: 'cpu' | 'webgpu', f: () => tf.Tensor | tf.Tensor[]) {
  await tf.setBackend(backend);
  const forward = tf.env().getBool('WEBGPU_CPU_FORWARD');
  tf.env().set('WEBGPU_CPU_FORWARD', false); // on the GPU, however small
  const before = tf.memory().numTensors;
  const made = [tf.tidy(f)].flat();
  tf.env().set('WEBGPU_CPU_FORWARD', forward);
  const results = await Promise.all(made.map(async (y) => ({ shape: y.shape, dtype: y.dtype, data: Array.from(await y.data()) })));
  tf.dispose(made);
  expect(tf.memory().numTensors).toBe(before);
  return results;
}

const whole32: readonly (readonly [string, () => tf.Tensor | tf.Tensor[]])[] = [
  ['slice', () => tf.slice(whole([4, 5, 6]), [1, 2, 0], [2, 3, 5])],
  ['transpose', () => tf.transpose(whole([4, 5, 6]), [2, 0, 1])],
  ['transpose of a matrix', () => tf.transpose(whole([33, 65]))],
  ['concat along the first axis', () => tf.concat([whole([2, 3]), whole([5, 3])], 0)],
  ['concat along the last axis, one part empty', () => tf.concat([whole([3, 2]), tf.zeros([3, 0], 'int32'), whole([3, 4])], -1)],
  ['stack', () => tf.stack([whole([3, 4]), whole([3, 4])], 1)],
  ['unstack', () => tf.unstack(whole([3, 4]), 1)],
  ['split', () => tf.split(whole([6, 4]), [1, 2, 3], 0)],
  ['gather of rows', () => tf.gather(whole([5, 3]), tf.tensor1d([4, 0, 4], 'int32'))],
  ['gather of each batch its own', () => tf.gather(whole([2, 3, 5, 2]), tf.tensor2d([4, 0, 2, 1, 1, 3], [2, 3], 'int32'), 2, 1)],
  ['gather along the last axis', () => tf.gather(whole([2, 3, 5]), tf.tensor2d([4, 0, 2, 1], [2, 2], 'int32'), 2)],
  [
    'pad',
    () =>
      tf.pad(
        whole([3, 4]),
        [
          [1, 2],
          [0, 3],
        ],
        -5,
      ),
  ],
  ['tile', () => tf.tile(whole([2, 3]), [2, 3])],
  ['broadcastTo', () => tf.broadcastTo(whole([3, 1]), [2, 3, 4])],
  ['where', () => tf.where(tf.tensor2d([1, 0, 0, 1], [2, 2], 'bool'), whole([2, 2]), tf.neg(tf.ones([2, 2], 'int32')))],
  ['a scalar, sliced from a row', () => tf.slice(whole([7]), [3], [1])],
];
const many: readonly (readonly [string, () => tf.Tensor])[] = [
  ['slice', () => tf.slice(floats([2, 3, 2, 3, 4]), [0, 1, 1, 0, 2], [2, 2, 1, 3, 2])],
  ['slice of six axes', () => tf.slice(floats([2, 3, 2, 1, 3, 4]), [0, 1, 1, 0, 0, 2], [2, 2, 1, 1, 3, 2])],
  [
    'pad',
    () =>
      tf.pad(
        floats([2, 1, 2, 3, 2]),
        [
          [1, 0],
          [0, 2],
          [0, 0],
          [1, 1],
          [0, 1],
        ],
        0.5,
      ),
  ],
  ['transpose', () => tf.transpose(floats([2, 3, 2, 3, 4]), [4, 1, 3, 0, 2])],
  ['transpose of six axes', () => tf.transpose(floats([2, 3, 2, 1, 3, 4]), [5, 4, 1, 3, 0, 2])],
  ['tile', () => tf.tile(floats([2, 1, 3, 1, 2]), [1, 2, 1, 3, 2])],
  ['where', () => tf.where(tf.greater(floats([2, 3, 2, 3, 4]), 10), floats([2, 3, 2, 3, 4]), tf.zeros([2, 3, 2, 3, 4]))],
  ['concat', () => tf.concat([floats([2, 3, 2, 3, 4]), floats([2, 3, 2, 1, 4])], 3)],
];
const empty: readonly (readonly [string, number[], () => tf.Tensor])[] = [
  ['conv2d', [0, 4, 4, 2], () => tf.conv2d(tf.zeros([0, 4, 4, 3]) as tf.Tensor4D, tf.ones([3, 3, 3, 2]) as tf.Tensor4D, 1, 'same')],
  ['softmax of no rows', [0, 3], () => tf.softmax(tf.zeros([0, 3]))],
  ['softmax of empty rows', [3, 0], () => tf.softmax(tf.zeros([3, 0]))],
  ['min of no rows, each over three', [0], () => tf.min(tf.zeros([0, 3]), 1)],
  ['matMul', [0, 2], () => tf.matMul(tf.zeros([0, 3]) as tf.Tensor2D, tf.ones([3, 2]) as tf.Tensor2D)],
  ['slice', [0, 2], () => tf.slice(tf.zeros([0, 3], 'int32'), [0, 1], [0, 2])],
  ['transpose', [3, 0], () => tf.transpose(tf.zeros([0, 3], 'int32'))],
];

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test.each(whole32)('int32 above 2^24: %s', async (_, f) => {
    expect(await on('webgpu', f)).toEqual(await on('cpu', f));
  });
  test.each(many)('many axes: %s', async (_, f) => {
    expect(await on('webgpu', f)).toEqual(await on('cpu', f));
  });
  test.each(empty)('no elements: %s', async (_, shape, f) => {
    expect(await on('webgpu', f)).toMatchObject([{ shape, data: [] }]);
  });
});
