/** Products in half precision, `Half…`, as a CPU takes them and as a GPU does, against float32's between roundings. TensorFlow's own run on CPUs too, slowly. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';

const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: object): tf.Tensor =>
  tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap);

const conv = { strides: [1, 1], pad: 'same', dataFormat: 'NHWC', dilations: [1, 1], dimRoundingMode: undefined };
const strided = {
  ...conv,
  strides: [2, 2],
  pad: [
    [0, 0],
    [1, 2],
    [0, 1],
    [0, 0],
  ],
};
type Shapes = { readonly [input: string]: number[] };
const products: readonly (readonly [kernel: string, inputs: Shapes, attrs: object])[] = [
  ['BatchMatMul', { a: [2, 9, 13], b: [2, 13, 7] }, { transposeA: false, transposeB: false }],
  ['BatchMatMul', { a: [16, 8], b: [2, 12, 16] }, { transposeA: true, transposeB: true }],
  ['Conv2D', { x: [2, 6, 5, 3], filter: [3, 3, 3, 8] }, conv],
  ['Conv2D', { x: [2, 7, 8, 3], filter: [3, 2, 3, 4] }, strided],
  ['Conv2DBackpropInput', { dy: [2, 6, 5, 8], filter: [3, 3, 4, 8] }, { ...conv, inputShape: [2, 6, 5, 4] }],
  ['Conv2DBackpropFilter', { x: [2, 6, 5, 4], dy: [2, 6, 5, 8] }, { ...conv, filterShape: [3, 3, 4, 8] }],
  ['DepthwiseConv2dNative', { x: [2, 6, 5, 4], filter: [3, 3, 4, 1] }, conv],
  ['DepthwiseConv2dNativeBackpropInput', { dy: [2, 6, 5, 4], filter: [3, 3, 4, 1] }, { ...conv, inputShape: [2, 6, 5, 4] }],
  ['DepthwiseConv2dNativeBackpropFilter', { x: [2, 6, 5, 4], dy: [2, 6, 5, 4] }, { ...conv, filterShape: [3, 3, 4, 1] }],
];

await describeOn('tensorflow', () => {
  beforeAll(() => useBackend('tensorflow').then(() => undefined));

  describe.each([false, true])('on a GPU: %s', (isUsingGpuDevice) => {
    beforeAll(() => {
      const backend = tf.backend() as unknown as { isUsingGpuDevice: boolean };
      const before = backend.isUsingGpuDevice;
      backend.isUsingGpuDevice = isUsingGpuDevice;
      return () => {
        backend.isUsingGpuDevice = before;
      };
    });

    test.each(products)('%s of %o', (kernel, shapes, attrs) => {
      for (const [half, eps] of [
        ['float16', 2 ** -10],
        ['bfloat16', 2 ** -7],
      ] as const) {
        const before = tf.memory().numTensors;
        tf.tidy(() => {
          const inputs = Object.fromEntries(
            Object.entries(shapes).map(([name, shape], i) => [name, tf.randomNormal(shape, 0, 1, 'float32', i + 1)]),
          );
          const near = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, run('RoundHalf', { x }, { half })]));
          const got = run(`Half${kernel}`, inputs, { ...attrs, half, halves: [] });
          const halves = Object.keys(near);
          expect(run(`Half${kernel}`, near, { ...attrs, half, halves }).dataSync()).toEqual(got.dataSync());
          const wanted = run(kernel, near, attrs);
          expect(got.dtype).toBe('float32');
          expect(got.shape).toEqual(wanted.shape);
          expect(run('RoundHalf', { x: got }, { half }).dataSync()).toEqual(got.dataSync()); // a half holds each value
          const sizes = run(kernel, Object.fromEntries(Object.entries(near).map(([name, x]) => [name, tf.abs(x)])), attrs).dataSync();
          const [y, z] = [got.dataSync(), wanted.dataSync()];
          const off = Math.max(...Array.from(y, (value, i) => Math.abs(value - z[i]!) / (sizes[i]! || 1)));
          expect(off).toBeLessThan(eps); // a rounding of the result, and one of a sum in parts
        });
        expect(tf.memory().numTensors).toBe(before);
      }
    });
  });
});
