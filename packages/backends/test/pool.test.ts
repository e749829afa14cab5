import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { registerCpuKernels } from '../src/cpu/index.ts';
import { distance, expectLikeCpu, prepare, random, runOn, whole } from './compare.ts';

beforeAll(async () => {
  await prepare();
  registerCpuKernels();
});

type Pad = 'same' | 'valid' | number;
/** input, window, strides, padding */
const pools: [number[], number | number[], number | number[], Pad][] = [
  [[2, 5, 6, 3], 2, 2, 'valid'],
  [[1, 4, 4, 1], 3, 2, 'same'],
  [[2, 7, 5, 6], [3, 2], [2, 1], 'same'],
  [[1, 6, 6, 9], 3, 3, 'same'],
  [[1, 5, 5, 4], 3, 1, 1],
  [[1, 5, 5, 2], 1, 2, 'valid'],
  [[2, 3, 4, 4, 3], 2, 1, 'same'],
  [[1, 4, 5, 3, 5], [3, 2, 2], [2, 2, 1], 'same'],
  [[1, 4, 4, 4, 2], 2, 2, 'valid'],
];

function outShape(x: number[], filterSize: number | number[], strides: number | number[], pad: Pad): number[] {
  return x.length === 4
    ? tf.backend_util.computePool2DInfo(x as [number, number, number, number], filterSize as number, strides as number, 1, pad).outShape
    : tf.backend_util.computePool3DInfo(x as [number, number, number, number, number], filterSize as number, strides as number, 1, pad)
        .outShape;
}

const kernels = (rank: number): { max: string; avg: string } =>
  rank === 4 ? { max: 'MaxPoolGrad', avg: 'AvgPoolGrad' } : { max: 'MaxPool3DGrad', avg: 'AvgPool3DGrad' };

describe('the gradient of max pooling on wasm', () => {
  it.each(pools)('equals that of cpu for input %j, window %j, strides %j, pad %j', async (shape, filterSize, strides, pad) => {
    const y = outShape(shape, filterSize, strides, pad);
    const attrs = { filterSize, strides, pad };
    const { max } = kernels(shape.length);
    const values = random(shape);
    const below = { shape, data: values.data.map((value) => value - 10) };
    const ties = whole(shape);
    for (const input of [values, below, ties]) await expectLikeCpu(max, { dy: random(y, 2), input, output: random(y) }, attrs);
  });

  it('goes to the first of equal elements', async () => {
    const input = { shape: [1, 2, 2, 1], data: [-1, -1, -1, -1] };
    const one = { shape: [1, 1, 1, 1], data: [5] };
    const { data } = await runOn('wasm', 'MaxPoolGrad', { dy: one, input, output: one }, { filterSize: 2, strides: 2, pad: 'valid' });
    expect(Array.from(data)).toEqual([5, 0, 0, 0]);
  });
});

describe.each(['wasm', 'cpu'])('the gradient of average pooling on %s', (backend) => {
  it.each(pools)('is the adjoint of forward for input %j, window %j, strides %j, pad %j', async (shape, filterSize, strides, pad) => {
    const dy = random(outShape(shape, filterSize, strides, pad), 2);
    const { data } = await runOn(backend, kernels(shape.length).avg, { dy, input: random(shape) }, { filterSize, strides, pad });
    // Pooling is linear: dx[i] = <pool(e_i), dy>, with e_i the unit vectors.
    await tf.setBackend('wasm');
    const expected = tf.tidy(() => {
      const dyTensor = tf.tensor(dy.data, dy.shape);
      const forward = (x: tf.Tensor) =>
        shape.length === 4
          ? tf.avgPool(x as tf.Tensor4D, filterSize as number, strides as number, pad)
          : tf.avgPool3d(x as tf.Tensor5D, filterSize as number, strides as number, pad);
      return Array.from({ length: data.length }, (_, i) =>
        tf.tidy(() => tf.sum(tf.mul(forward(tf.oneHot(i, data.length).toFloat().reshape(shape)), dyTensor)).dataSync()[0] as number),
      );
    });
    expect(distance(data, expected)).toBeLessThan(2e-6);
  });

  it('divides by the elements inside the input', async () => {
    const dy = { shape: [1, 2, 2, 1], data: [1, 1, 1, 1] };
    const { data } = await runOn(backend, 'AvgPoolGrad', { dy, input: random([1, 4, 4, 1]) }, { filterSize: 3, strides: 2, pad: 'same' });
    expect(Array.from(data).reduce((sum, value) => sum + value, 0)).toBeCloseTo(4, 6); // each of the four windows shares out 1
  });
});
