/** Kernels in half precision, `Half…`, against float32's kernel between roundings, bit for bit; and gradients unscaled in one kernel. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, it, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { setHalfUnits } from '../../src/webgpu/halves/half-units.ts';
import { halfUnits, type WebGPUBackend } from '../../src/webgpu/index.ts';

const halves = ['float16', 'bfloat16'] as const;
const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: object): tf.Tensor =>
  tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap);
const round = (x: tf.Tensor, half: string): tf.Tensor => run('RoundHalf', { x }, { half });
const bits = (x: tf.Tensor): number[] => Array.from(new Int32Array((x.dataSync() as Float32Array).slice().buffer));

/** Float32 of many sizes, some beyond float16's and some below. */
const rough = (shape: number[], seed: number): tf.Tensor =>
  tf.tidy(() =>
    tf.mul(tf.randomNormal(shape, 0, 1, 'float32', seed), tf.pow(2, tf.randomUniform(shape, -28, 4, 'float32', seed + 1).floor())),
  );

const conv = { strides: [1, 1], pad: 'same', dataFormat: 'NHWC', dilations: [1, 1], dimRoundingMode: undefined };
type Shapes = { readonly [input: string]: number[] };
type Case = readonly [kernel: string, half: 'float16' | 'bfloat16', inputs: Shapes, attrs: object];
const transposed: Case = ['BatchMatMul', 'float16', { a: [2, 16, 8], b: [2, 12, 16] }, { transposeA: true, transposeB: true }];
const products: readonly Case[] = [
  transposed,
  ['BatchMatMul', 'bfloat16', { a: [2, 9, 13], b: [2, 13, 7] }, { transposeA: false, transposeB: false }],
  ['BatchMatMul', 'float16', { a: [1, 900, 6], b: [1, 900, 4] }, { transposeA: true, transposeB: false }], // K in pieces
  ['_FusedMatMul', 'float16', { a: [1, 5, 8], b: [1, 8, 12], bias: [12] }, { transposeA: false, transposeB: false, activation: 'relu' }],
  ['_FusedMatMul', 'float16', { a: [1, 5, 8], b: [1, 8, 12], bias: [5, 12] }, { transposeA: false, transposeB: false, activation: 'elu' }], // tfjs's
  ['Conv2D', 'float16', { x: [2, 6, 5, 3], filter: [3, 3, 3, 8] }, conv],
  ['FusedConv2D', 'bfloat16', { x: [2, 6, 5, 4], filter: [3, 3, 4, 6], bias: [6] }, { ...conv, activation: 'relu6' }],
  ['Conv2DBackpropInput', 'float16', { dy: [2, 6, 5, 8], filter: [3, 3, 4, 8] }, { ...conv, inputShape: [2, 6, 5, 4] }],
  ['Conv2DBackpropFilter', 'float16', { x: [2, 6, 5, 4], dy: [2, 6, 5, 8] }, { ...conv, filterShape: [3, 3, 4, 8] }],
];
const elements: readonly (readonly [kernel: string, a: number[], b: number[]])[] = [
  ['Add', [3, 8], [3, 8]],
  ['Sub', [3, 7], [7]],
  ['Multiply', [4, 5, 6], [4, 1, 6]],
  ['RealDiv', [64, 4], [1]],
  ['SquaredDifference', [2, 2, 3, 2, 2], [2, 1, 3, 1, 2]], // broadcast so that tfjs's kernel must do
];

await describeOn('webgpu', () => {
  let own: PropertyDescriptor | undefined;
  const device = () => (tf.backend() as WebGPUBackend).device;
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  /**
   * The plans of an adapter on the CPU; and those of a GPU, which round as they read: by f16() where that is right, and by whole numbers. Of
   * these one each, for such shaders take long to compile where no GPU does it.
   */
  describe.each([
    ['a CPU', products],
    ['a GPU', [transposed]],
    ['a GPU whose f16() cannot be trusted', [transposed]],
    ['a GPU without f16', [['BatchMatMul', 'bfloat16', transposed[2], transposed[3]] as Case]],
  ] as const)('with the plans of %s', (kind, products) => {
    beforeAll(() => {
      own = Object.getOwnPropertyDescriptor(device(), 'adapterInfo');
      const before = halfUnits(tf.backend() as WebGPUBackend);
      if (kind === 'a CPU') return undefined;
      Object.defineProperty(device(), 'adapterInfo', { value: { description: 'a GPU' }, configurable: true });
      if (kind === 'a GPU') return undefined;
      setHalfUnits(tf.backend() as WebGPUBackend, { f16: before.f16 && kind !== 'a GPU without f16', casts: false, reasons: [] });
      return () => setHalfUnits(tf.backend() as WebGPUBackend, before);
    });
    afterAll(() => {
      if (own) Object.defineProperty(device(), 'adapterInfo', own);
      else delete (device() as { adapterInfo?: object }).adapterInfo;
    });

    test.each(products)('%s in %s of %o', (kernel, half, shapes, attrs) => {
      const before = tf.memory().numTensors;
      tf.tidy(() => {
        const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape], i) => [name, rough(shape, 7 * i + 1)]));
        const near = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, round(x, half)]));
        const wanted = bits(round(run(kernel, near, attrs), half));
        expect(bits(run(`Half${kernel}`, inputs, { ...attrs, half, halves: [] }))).toEqual(wanted);
        if (kind === 'a CPU') expect(bits(run(`Half${kernel}`, near, { ...attrs, half, halves: Object.keys(near) }))).toEqual(wanted);
      });
      expect(tf.memory().numTensors).toBe(before);
    });
  });

  test.each(elements)('%s of [%s] and [%s]', (kernel, ...shapes) => {
    for (const half of halves)
      tf.tidy(() => {
        const [a, b] = shapes.map((shape, i) => rough(shape, 3 * i + 1)) as [tf.Tensor, tf.Tensor];
        expect(bits(run(`Half${kernel}`, { a, b }, { half, halves: [] }))).toEqual(bits(round(run(kernel, { a, b }, {}), half)));
      });
  });

  test.each(['Gelu', 'GeluGrad'])('%s, exact and with tanh', (kernel) => {
    for (const half of halves)
      for (const approximate of [false, true])
        tf.tidy(() => {
          const inputs = { x: rough([5, 13], 1), ...(kernel === 'GeluGrad' && { dy: rough([5, 13], 2) }) };
          const wanted = bits(round(run(kernel, inputs, { approximate }), half));
          expect(bits(run(`Half${kernel}`, inputs, { approximate, half, halves: Object.keys(inputs) }))).toEqual(wanted);
        });
  });

  describe('Unscale', () => {
    const sizes = [1, 3, 64, 65, 1000, 5, 7, 0, 128, 9, 11, 2, 4, 6, 8, 10, 12, 14, 513];
    const gradients = (at = -1, value = 0): tf.Tensor[] =>
      sizes.map((size, i) =>
        tf.tensor1d(Float32Array.from({ length: size }, (_, j) => (i === at && j === size - 1 ? value : i + j / 8 - 3))),
      );
    const unscale = (list: tf.Tensor[]): boolean =>
      tf.tidy(() => run('Unscale', Object.fromEntries(list.map((g, i) => [`${i}`, g])), { factor: 0.25 }).dataSync()[0] === 1);

    it('divides more gradients than one kernel binds, where they are', () => {
      const [list, plain] = [gradients(), gradients()];
      const before = tf.memory().numTensors;
      expect(unscale(list)).toBe(true);
      expect(tf.memory().numTensors).toBe(before);
      for (const [i, g] of list.entries()) expect(g.dataSync()).toEqual(plain[i]!.dataSync().map((value) => value / 4));
      tf.dispose([list, plain]);
    });

    it.each([
      [0, Number.POSITIVE_INFINITY],
      [4, Number.NaN],
      [18, Number.NEGATIVE_INFINITY],
    ])('finds that the last value of gradient %i is %d', (at, value) => {
      const [list, large] = [gradients(at, value), gradients(at, 3.4e38)];
      expect(unscale(list)).toBe(false);
      expect(unscale(large)).toBe(true);
      tf.dispose([list, large]);
    });
  });
});
