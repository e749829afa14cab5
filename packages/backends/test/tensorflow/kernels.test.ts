/** Kernels that tfjs-node lacks or gets wrong, against tfjs's cpu backend. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeEach, describe, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { registerTensorflowKernels } from '../../src/tensorflow/index.ts';
import { distance, random, runOn, type Values } from '../compare.ts';

async function expectLikeCpu(kernel: string, inputs: { [name: string]: Values }, attrs: object): Promise<void> {
  const expected = await runOn('cpu', kernel, inputs, attrs);
  const got = await runOn('tensorflow', kernel, inputs, attrs);
  expect([got.shape, got.dtype]).toEqual([expected.shape, expected.dtype]);
  expect(distance(got.data, expected.data)).toBeLessThan(2e-6);
}

const sides = (...spatial: [number, number][]): [number, number][] => [[0, 0], ...spatial, [0, 0]];
const paddings = [1, 2, sides([2, 0], [0, 1]), sides([1, 3], [2, 2])];

await describeOn('tensorflow', () => {
  beforeEach(async () => {
    await useBackend('cpu');
    await useBackend('tensorflow');
  });

  test('registering twice changes nothing', () => {
    const before = tf.getKernel(tf.Conv2D, 'tensorflow').kernelFunc;
    registerTensorflowKernels();
    expect(tf.getKernel(tf.Conv2D, 'tensorflow').kernelFunc).toBe(before);
  });

  test('int32 rounds to itself', () => {
    const x = [-12345678, 10, 12345678];
    expect([...tf.tidy(() => tf.round(tf.tensor(x, [3], 'int32')).dataSync())]).toEqual(x);
  });

  test('the step function is that of tfjs, NaN and infinities included', () => {
    const step = (alpha?: number) => [
      ...tf.tidy(() => tf.step(tf.tensor([-2, -0, 0, 3, Number.NaN, Infinity, -Infinity]), alpha).dataSync()),
    ];
    expect(step()).toEqual([0, 0, 0, 1, Number.NaN, 1, 0]);
    expect(step(2)).toEqual([2, 2, 2, 1, Number.NaN, 1, 2]);
  });

  describe.each(paddings)('padding %j', (pad) => {
    describe.each([1, 2])('stride %d', (strides) => {
      const x = random([2, 8, 7, 3]);
      const attrs = { strides, pad, dilations: 1, dataFormat: 'NHWC' };
      const outShape = (filterShape: number[], depthwise: boolean): number[] =>
        tf.backend_util.computeConv2DInfo(
          x.shape as [number, number, number, number],
          filterShape as never,
          strides,
          1,
          pad as never,
          undefined,
          depthwise,
        ).outShape;

      test.each([false, true])('convolutions and their gradients (depthwise %s)', async (depthwise) => {
        const filter = random([3, 3, 3, depthwise ? 2 : 4], 2);
        const dy = random(outShape(filter.shape, depthwise), 3);
        const [forward, ofInput, ofFilter] = depthwise
          ? [tf.DepthwiseConv2dNative, tf.DepthwiseConv2dNativeBackpropInput, tf.DepthwiseConv2dNativeBackpropFilter]
          : [tf.Conv2D, tf.Conv2DBackpropInput, tf.Conv2DBackpropFilter];
        await expectLikeCpu(forward, { x, filter }, attrs);
        await expectLikeCpu(ofInput, { dy, filter }, { ...attrs, inputShape: x.shape });
        await expectLikeCpu(ofFilter, { x, dy }, { ...attrs, filterShape: filter.shape });
      });

      test.each([tf.MaxPool, tf.AvgPool])('%s', async (kernel) => {
        await expectLikeCpu(kernel, { x }, { filterSize: 4, ...attrs });
      });

      test('the gradient of an average', async () => {
        const pool = { filterSize: 4, ...attrs };
        const { shape } = await runOn('cpu', tf.AvgPool, { x }, pool);
        await expectLikeCpu(tf.AvgPoolGrad, { dy: random([...shape], 4), input: x }, pool);
      });

      test('the gradient of a maximum', async () => {
        const pool = { filterSize: 4, ...attrs };
        const output = await runOn('cpu', tf.MaxPool, { x }, pool);
        const dy = random([...output.shape], 4);
        const y = { shape: [...output.shape], data: [...(output.data as Float32Array)] };
        await expectLikeCpu(tf.MaxPoolGrad, { dy, input: x, output: y }, pool);
      });
    });
  });
});
