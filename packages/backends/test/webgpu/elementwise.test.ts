/** Elementwise kernels, against tfjs's cpu backend: every kind of broadcast, sizes that are no multiple of four, NaN and infinity. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { distance, random, type Values, whole } from '../compare.ts';

type Inputs = { readonly [name: string]: Values };

/** On the GPU, whatever their size: a product that tfjs leaves to the CPU would test nothing. */
function onGpu(tensors: tf.NamedTensorMap): void {
  if (tf.getBackend() !== 'webgpu') return;
  for (const { dataId } of Object.values(tensors)) (tf.backend() as unknown as { uploadToGPU(id: object): void }).uploadToGPU(dataId);
}

async function on(backend: 'cpu' | 'webgpu', kernel: string, inputs: Inputs, attrs: object, upload: boolean) {
  await tf.setBackend(backend);
  const tensors = Object.fromEntries(Object.entries(inputs).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data, shape, dtype)]));
  if (upload) onGpu(tensors);
  const before = tf.backend().numDataIds();
  const y = tf.engine().runKernel(kernel, tensors, attrs as tf.NamedAttrMap) as tf.Tensor;
  if (backend === 'webgpu') expect(tf.backend().numDataIds()).toBe(before + 1);
  const data = Array.from(await y.data());
  tf.dispose([tensors, y]);
  return { shape: y.shape, dtype: y.dtype, data };
}

async function expectLikeCpu(kernel: string, inputs: Inputs, attrs: object = {}, upload = true): Promise<void> {
  const [cpu, webgpu] = [await on('cpu', kernel, inputs, attrs, upload), await on('webgpu', kernel, inputs, attrs, upload)];
  expect([webgpu.shape, webgpu.dtype]).toEqual([cpu.shape, cpu.dtype]);
  expect(distance(webgpu.data, cpu.data)).toBeLessThanOrEqual(1e-6);
}

const broadcasts: readonly (readonly [what: string, a: number[], b: number[]])[] = [
  ['equal shapes', [3, 5, 8], [3, 5, 8]],
  ['an odd size', [3, 5, 7], [3, 5, 7]],
  ['a row of fours', [5, 7, 12], [12]],
  ['a long row', [37, 64], [64]],
  ['an odd row', [5, 7, 3], [3]],
  ['a column over fours', [5, 7, 8], [5, 7, 1]],
  ['an odd column', [5, 7, 3], [5, 7, 1]],
  ['a block between', [3, 5, 8], [1, 5, 1]],
  ['an odd block between', [2, 5, 3], [1, 5, 1]],
  ['a single number', [3, 4], []],
  ['the smaller one first', [12], [5, 12]],
  ['a row and a column', [5, 1], [1, 8]],
  ['axes that are no neighbours', [3, 4, 5], [3, 1, 5]],
  ['more axes, all of size 1', [6], [1, 1, 6]],
];
const binary = ['Add', 'Sub', 'Multiply', 'RealDiv', 'SquaredDifference', 'Greater', 'GreaterEqual', 'Less', 'LessEqual'];

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test.each(broadcasts)('Sub and RealDiv, %s', async (_, a, b) => {
    const divisor = random(b, 2);
    await expectLikeCpu('Sub', { a: random(a, 1), b: divisor });
    const far = { ...divisor, data: divisor.data.map((x) => x + Math.sign(x) + 0.5) };
    await expectLikeCpu('RealDiv', { a: random(a, 1), b: far });
  });

  test.each(binary)('%s of whole numbers, ties included; with a number that is on the CPU', async (kernel) => {
    const b = whole([4, 12], 2);
    if (kernel === 'RealDiv') for (const [i, x] of b.data.entries()) if (x === 0) b.data[i] = 3;
    await expectLikeCpu(kernel, { a: whole([4, 12], 1), b });
    await expectLikeCpu(kernel, { a: whole([40, 30], 1), b: { shape: [], data: [2] } }, {}, false);
    await expectLikeCpu(kernel, { a: { shape: [1], data: [2] }, b: { shape: [40, 30], data: Array(1200).fill(0.5) } }, {}, false);
  });

  test('int32 is added exactly, as tfjs does it', () =>
    expectLikeCpu('Add', { a: whole([4, 12], 1, 'int32'), b: whole([12], 2, 'int32') }));

  const unary: readonly (readonly [string, object])[] = [
    ['Neg', {}],
    ['Square', {}],
    ['Relu', {}],
    ['Relu6', {}],
    ['Step', { alpha: 0.25 }],
    ['ClipByValue', { clipValueMin: -0.5, clipValueMax: 0.75 }],
  ];
  test.each(unary)('%s, of a multiple of four and of an odd size', async (kernel, attrs) => {
    await expectLikeCpu(kernel, { x: random([5, 8], 1) }, attrs);
    await expectLikeCpu(kernel, { x: random([5, 7], 1) }, attrs);
  });

  test.each([8, 7])('NaN and infinity go through kernels of %i elements', async (n) => {
    const x = { shape: [n], data: [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1, -1, 0, 2, 3].slice(0, n) };
    for (const [kernel, attrs] of unary) {
      const [cpu, webgpu] = [await on('cpu', kernel, { x }, attrs, true), await on('webgpu', kernel, { x }, attrs, true)];
      expect(webgpu.data.slice(0, 5).map(Number), kernel).toEqual(cpu.data.slice(0, 5));
    }
    const b = { shape: [n], data: Array(n).fill(2) };
    for (const kernel of ['Add', 'Sub', 'Multiply', 'RealDiv', 'Greater', 'LessEqual'])
      expect((await on('webgpu', kernel, { a: x, b }, {}, true)).data).toEqual((await on('cpu', kernel, { a: x, b }, {}, true)).data);
  });

  test('Select, by a mask of the same shape and by one of rows', async () => {
    const mask = (n: number): Values => ({ shape: [n], dtype: 'bool', data: Array.from({ length: n }, (_, i) => Number(i % 3 === 0)) });
    for (const n of [8, 7]) await expectLikeCpu('Select', { condition: mask(n), t: random([n], 1), e: random([n], 2) });
    const [t, e] = [random([6, 4], 1), random([6, 4], 2)]; // tfjs's cpu backend reads the wrong elements here
    const { data } = await on('webgpu', 'Select', { condition: mask(6), t, e }, {}, true);
    const wanted = t.data.map((x, i) => (Math.floor(i / 4) % 3 === 0 ? x : e.data[i]!));
    expect(distance(data, wanted)).toBeLessThan(1e-6);
  });

  test.each([8, 3])('FusedBatchNorm of %i channels, with and without scale and offset', async (c) => {
    const variance = { shape: [c], data: random([c], 3).data.map((v) => v * v + 0.1) };
    const inputs = { x: random([3, 5, 7, c], 1), mean: random([c], 2), variance };
    const [scale, offset] = [random([c], 4), random([c], 5)];
    for (const more of [{}, { scale }, { offset }, { scale, offset }])
      await expectLikeCpu('FusedBatchNorm', { ...inputs, ...more }, { varianceEpsilon: 1e-3 });
  });

  test.each(['int32', 'bool'] as const)('%s cast to float32 is what kernels of float32 read', async (dtype) => {
    const x = { ...whole([40, 30], 1, 'int32'), dtype };
    const data = dtype === 'bool' ? x.data.map((v) => Number(v > 0)) : x.data;
    for (const upload of [true, false]) await expectLikeCpu('Cast', { x: { ...x, data } }, { dtype: 'float32' }, upload);
    await tf.setBackend('webgpu');
    const sums = tf.tidy(() => tf.sum(tf.cast(tf.tensor(data, x.shape, dtype), 'float32'), 0));
    const wanted = Array.from({ length: 30 }, (_, c) => data.reduce((sum, v, i) => (i % 30 === c ? sum + v : sum), 0));
    expect(Array.from(await sums.data())).toEqual(wanted);
    sums.dispose();
  });

  test('nothing is made of nothing', async () => {
    await tf.setBackend('webgpu');
    const y = tf.add(tf.zeros([0, 3]), tf.ones([3]));
    expect([y.shape, Array.from(await y.data())]).toEqual([[0, 3], []]);
    y.dispose();
  });
});
