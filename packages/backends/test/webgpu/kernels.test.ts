/** Kernels for training, against tfjs's cpu backend and closed forms: odd shapes, the same bits twice, NaN and infinity let through. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { conv2d, conv2dFilterGradient, conv2dInputGradient } from '../../src/webgpu/convolution/conv2d.ts';
import { convInfo2d } from '../../src/webgpu/convolution/window.ts';
import type { WebGPUBackend } from '../../src/webgpu/index.ts';
import { matMul } from '../../src/webgpu/products/mat-mul.ts';
import { directPlan, type Plan, smallTiles } from '../../src/webgpu/products/plan.ts';
import { rowPasses } from '../../src/webgpu/rows/rows.ts';
import { distance, random, type Values, whole } from '../compare.ts';

type Inputs = { readonly [name: string]: Values };
type Result = Promise<{ shape: number[]; data: ArrayLike<number> }>;

/** Runs `f` on tensors of `inputs`, and checks that it leaves one tensor. */
async function on(backend: 'cpu' | 'webgpu', inputs: Inputs, f: (x: tf.NamedTensorMap) => tf.TensorInfo): Result {
  await tf.setBackend(backend);
  const tensors = Object.fromEntries(Object.entries(inputs).map(([name, { data, shape, dtype }]) => [name, tf.tensor(data, shape, dtype)]));
  const before = tf.backend().numDataIds();
  const made = f(tensors);
  const y = made instanceof tf.Tensor ? made : tf.engine().makeTensorFromTensorInfo(made);
  expect(tf.backend().numDataIds()).toBe(before + 1);
  const data = Array.from(await y.data());
  tf.dispose([tensors, y]);
  return { shape: y.shape, data };
}

const kernel = (name: string, attrs: object) => (x: tf.NamedTensorMap) =>
  tf.engine().runKernel(name, x, attrs as tf.NamedAttrMap) as tf.Tensor;
const gpu = () => tf.backend() as WebGPUBackend;

async function expectLikeCpu(name: string, inputs: Inputs, attrs: object, ours = kernel(name, attrs), tolerance = 3e-6): Promise<void> {
  const cpu = await on('cpu', inputs, kernel(name, attrs));
  const webgpu = await on('webgpu', inputs, ours as never);
  expect(webgpu.shape).toEqual(cpu.shape);
  expect(distance(webgpu.data, cpu.data)).toBeLessThanOrEqual(tolerance);
}

const transposes = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;
const product = (batch: number[], m: number, k: number, n: number, tA: boolean, tB: boolean): Inputs => ({
  a: random([...batch, ...(tA ? [k, m] : [m, k])], 1),
  b: random([...batch, ...(tB ? [n, k] : [k, n])], 2),
});

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  const plans: readonly [string, Plan][] = [
    ['without tiles', { kind: 'direct', rows: 8 }],
    ...(directPlan(gpu()).shares ? [['without tiles, in subgroups', directPlan(gpu())] as [string, Plan]] : []),
    ['with tiles', smallTiles],
    ['with tiles that take two turns to fill', { kind: 'tiles', m: 32, n: 32, k: 32, rows: 4, columns: 8 }],
  ];
  for (const [title, plan] of plans)
    test.each(transposes)(`matMul, ${title}, transposes %s %s: any shape, long K, batches`, async (tA, tB) => {
      const shapes: [number[], number, number, number][] = [
        [[], 1, 1, 1],
        [[], 5, 17, 33],
        [[], 65, 8, 12],
        [[], 130, 36, 68],
        [[3], 4, 3, 20],
        [[], 12, 1024, 8],
        [[], 7, 515, 3],
      ];
      for (const [batch, m, k, n] of shapes) {
        const attrs = { transposeA: tA, transposeB: tB };
        await expectLikeCpu('BatchMatMul', product(batch, m, k, n, tA, tB), attrs, (({ a, b }: tf.NamedTensorMap) =>
          matMul(gpu(), a!, b!, { ...attrs, plan })) as never);
      }
    });

  test('matMul broadcasts batches on both sides, and is zero over no elements', async () => {
    const [a, b] = [random([2, 1, 3, 4]), random([1, 5, 4, 8])];
    const { shape, data } = await on('webgpu', { a, b }, ({ a, b }) => tf.matMul(a!, b!));
    expect(shape).toEqual([2, 5, 3, 8]);
    const at = (i: number, j: number, r: number, c: number) =>
      [0, 1, 2, 3].reduce((sum, k) => sum + a.data[(i * 3 + r) * 4 + k]! * b.data[(j * 4 + k) * 8 + c]!, 0);
    const wanted = Array.from(data, (_, n) => at(Math.floor(n / 120), Math.floor(n / 24) % 5, Math.floor(n / 8) % 3, n % 8));
    expect(distance(data, wanted)).toBeLessThan(1e-6);
    const none = await on('webgpu', { a: { shape: [2, 0], data: [] }, b: { shape: [0, 3], data: [] } }, ({ a, b }) => tf.matMul(a!, b!));
    expect(none).toEqual({ shape: [2, 3], data: [0, 0, 0, 0, 0, 0] });
  });

  test.each(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu'])(
    'a fused matMul adds its bias and applies %s',
    async (activation) => {
      const inputs = {
        ...product([1], 5, 6, activation === 'relu' ? 7 : 8, false, false),
        bias: random([activation === 'relu' ? 7 : 8], 3),
      };
      const attrs = { transposeA: false, transposeB: false, activation, leakyreluAlpha: 0.3 };
      await expectLikeCpu('_FusedMatMul', inputs, attrs);
    },
  );

  const convolutions: [number[], number[], number[], unknown][] = [
    [[2, 7, 9, 3], [3, 3, 3, 5], [1, 1], 'same'],
    [[2, 8, 9, 4], [3, 3, 4, 8], [2, 2], 'same'],
    [[1, 9, 10, 4], [3, 3, 4, 12], [2, 2], 'valid'],
    [[2, 8, 8, 8], [1, 1, 8, 12], [2, 2], 'same'],
    [[2, 5, 5, 8], [1, 1, 8, 12], [1, 1], 'same'],
    [
      [1, 6, 6, 33],
      [3, 2, 33, 17],
      [1, 3],
      [
        [0, 0],
        [1, 2],
        [0, 1],
        [0, 0],
      ],
    ],
    [[1, 2, 2, 4], [5, 5, 4, 4], [1, 1], 'same'],
  ];
  for (const [title, plan] of plans)
    test(`conv2d and both gradients, ${title}`, async () => {
      for (const [inputShape, filterShape, strides, pad] of convolutions) {
        const attrs = { strides, pad, dilations: [1, 1], dataFormat: 'NHWC', inputShape, filterShape };
        const c = convInfo2d(inputShape, filterShape, attrs);
        const [x, filter, dy] = [random(inputShape, 1), random(filterShape, 2), random(c.outShape, 3)];
        await expectLikeCpu('Conv2D', { x, filter }, attrs, (({ x, filter }: tf.NamedTensorMap) =>
          conv2d(gpu(), x!, filter!, c, {}, { plan })) as never);
        await expectLikeCpu('Conv2DBackpropInput', { dy, filter }, attrs, (({ dy, filter }: tf.NamedTensorMap) =>
          conv2dInputGradient(gpu(), dy!, filter!, c, { plan })) as never);
        await expectLikeCpu('Conv2DBackpropFilter', { x, dy }, attrs, (({ x, dy }: tf.NamedTensorMap) =>
          conv2dFilterGradient(gpu(), x!, dy!, c, { plan })) as never);
      }
    });

  // cpu's gradients of depthwise convolutions leave dilation out
  test.each([
    ['Conv2D', 4, 'Conv2DBackpropInput', 'Conv2DBackpropFilter'],
    ['DepthwiseConv2dNative', 1, 'DepthwiseConv2dNativeBackpropInput', 'DepthwiseConv2dNativeBackpropFilter'],
  ])(
    'with dilation the gradients of %s are the adjoints of forward: <dy, y> = <dx, x> = <dW, W>',
    async (forward, out, ofInput, ofFilter) => {
      const [inputShape, filterShape] = [
        [2, 8, 9, 4],
        [3, 3, 4, out],
      ];
      const attrs = { strides: [1, 1], pad: 'same', dilations: [2, 2], dataFormat: 'NHWC', inputShape, filterShape };
      const [x, filter, dy] = [whole(inputShape, 1), whole(filterShape, 2), whole([2, 8, 9, 4], 3)];
      const dot = async (a: Result, b: Values) => Array.from((await a).data).reduce((sum, value, i) => sum + value * b.data[i]!, 0);
      const wanted = await dot(on('cpu', { x, filter }, kernel(forward, attrs)), dy);
      expect(wanted).not.toBe(0);
      expect(await dot(on('webgpu', { x, filter }, kernel(forward, attrs)), dy)).toBe(wanted);
      expect(await dot(on('webgpu', { dy, filter }, kernel(ofInput, attrs)), x)).toBe(wanted);
      expect(await dot(on('webgpu', { x, dy }, kernel(ofFilter, attrs)), filter)).toBe(wanted);
    },
  );

  test('a convolution fuses its bias and activation', async () => {
    const inputs = { x: random([1, 5, 5, 4], 1), filter: random([3, 3, 4, 8], 2), bias: random([8], 3) };
    await expectLikeCpu('FusedConv2D', inputs, {
      strides: [1, 1],
      pad: 'same',
      dilations: [1, 1],
      dataFormat: 'NHWC',
      activation: 'relu6',
    });
  });

  test.each([
    [[2, 7, 9, 4], [3, 3, 4, 1], [1, 1], 'same', [1, 1]],
    [[2, 8, 8, 5], [3, 3, 5, 1], [2, 2], 'same', [1, 1]],
    [[1, 6, 6, 3], [3, 3, 3, 2], [1, 1], 'same', [1, 1]],
  ] as const)('gradients of a depthwise convolution of %j', async (inputShape, filterShape, strides, pad, dilations) => {
    const attrs = { strides, pad, dilations, inputShape: [...inputShape], filterShape: [...filterShape] };
    const [x, filter, dy] = [
      random([...inputShape]),
      random([...filterShape], 2),
      random(convInfo2d(inputShape, filterShape, attrs, true).outShape, 3),
    ];
    await expectLikeCpu('DepthwiseConv2dNativeBackpropInput', { dy, filter }, attrs);
    await expectLikeCpu('DepthwiseConv2dNativeBackpropFilter', { x, dy }, attrs);
  });

  test.each([
    [[5, 3, 7], [0]],
    [
      [300, 2, 8],
      [0, 1],
    ],
    [[3, 65, 4], [1]],
    [
      [1, 17, 1, 5],
      [0, 1, 2],
    ],
    [
      [3, 4, 5],
      [0, 2],
    ],
    [[3, 4], [1]],
    [[0, 4], [0]],
  ])('Sum and Mean of %j over %j', async (shape, axis) => {
    await expectLikeCpu('Sum', { x: random(shape) }, { axis, keepDims: false });
    if (shape[0] !== 0) await expectLikeCpu('Mean', { x: random(shape) }, { axis, keepDims: true });
    if (shape[0] === 0) await expectLikeCpu('Sum', { x: { ...random(shape), dtype: 'int32' } }, { axis, keepDims: false });
  });

  test('rows of one segment are added in their order, to the bit; rows of none are left out', async () => {
    for (const columns of [4, 3]) {
      const segmentIds = { shape: [70], dtype: 'int32' as const, data: Array.from({ length: 70 }, (_, i) => ((i * 7) % 9) - 1) };
      const inputs = { x: random([70, columns]), segmentIds };
      const { data } = await on('webgpu', inputs, kernel('UnsortedSegmentSum', { numSegments: 10 }));
      const wanted = new Float32Array(10 * columns);
      for (const [i, id] of segmentIds.data.entries())
        for (let c = 0; c < columns && id >= 0; c++) wanted[id * columns + c]! += Math.fround(inputs.x.data[i * columns + c]!);
      expect(data).toEqual(Array.from(wanted));
    }
  });

  test.each([false, true])('softmax backward, a row by one thread or (%s) by a group', async (together) => {
    const [dy, y] = [random([5, 130], 1), random([5, 130], 2)];
    const passes = {
      key: 'softmaxGradient',
      shape: [5, 130],
      sums: [{ name: 'slope', term: 'dy[at] * y[at]' }],
      result: '(dy[at] - slope) * y[at]',
      together,
    };
    const { data } = await on('webgpu', { dy, y }, ({ dy, y }) => rowPasses(gpu(), { ...passes, inputs: { dy: dy!, y: y! } })['result']!);
    const sums = [0, 1, 2, 3, 4].map((row) =>
      dy.data.slice(row * 130, row * 130 + 130).reduce((s, d, i) => s + d * y.data[row * 130 + i]!, 0),
    );
    expect(
      distance(
        data,
        y.data.map((value, i) => (dy.data[i]! - sums[Math.floor(i / 130)]!) * value),
      ),
    ).toBeLessThan(1e-6);
  });

  test('the same input gives the same bits, twice', async () => {
    const inputs = product([], 12, 4096, 12, true, false);
    const once = await on('webgpu', inputs, ({ a, b }) => tf.matMul(a!, b!, true));
    expect(await on('webgpu', inputs, ({ a, b }) => tf.matMul(a!, b!, true))).toEqual(once);
  });

  test('NaN and infinity reach the elements that they belong to, and no others', async () => {
    const [a, b] = [whole([9, 5], 1), whole([5, 6], 2)];
    (a.data as number[])[5 * 4] = Number.NaN;
    (b.data as number[])[3] = Number.POSITIVE_INFINITY;
    const wanted = await on('cpu', { a, b }, ({ a, b }) => tf.matMul(a!, b!));
    expect(await on('webgpu', { a, b }, ({ a, b }) => tf.matMul(a!, b!))).toEqual(wanted);
    const bias = { shape: [6], data: [0, 0, 0, 0, 0, 0] };
    const relu = await on('webgpu', { a, b, bias }, ({ a, b, bias }) =>
      tf.fused.matMul({ a: a as tf.Tensor2D, b: b as tf.Tensor2D, bias: bias!, activation: 'relu' }),
    );
    expect(relu.data[4 * 6]).toBeNaN();
  });
});
