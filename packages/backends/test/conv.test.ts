import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { distance, expectLikeCpu, prepare, random, runOn } from './compare.ts';

beforeAll(prepare);

type Pad = 'same' | 'valid' | number | [number, number][];
const sides: Pad = [
  [0, 0],
  [1, 2],
  [0, 1],
  [0, 0],
];
/** input, filter, strides, padding */
const convs: [number[], number[], number | [number, number], Pad][] = [
  [[2, 5, 6, 3], [3, 3, 3, 4], 1, 'same'],
  [[1, 7, 7, 4], [3, 3, 4, 8], 2, 'same'],
  [[2, 8, 5, 5], [3, 2, 5, 7], [2, 1], 'valid'],
  [[3, 9, 9, 2], [5, 5, 2, 3], 3, 'same'],
  [[1, 4, 4, 1], [1, 1, 1, 1], 1, 'valid'],
  [[2, 6, 6, 9], [1, 1, 9, 17], 1, 'same'],
  [[2, 7, 6, 9], [1, 1, 9, 5], 2, 'same'],
  [[1, 6, 5, 12], [3, 3, 12, 16], 1, 1],
  [[1, 6, 5, 2], [3, 3, 2, 3], 2, sides],
  [[1, 3, 3, 2], [3, 3, 2, 3], 1, 'valid'],
  [[1, 1, 1300, 2], [1, 3, 2, 3], 1, 'same'],
  [[2, 20, 20, 5], [3, 3, 5, 6], 1, 'same'],
];
const out = (
  x: number[],
  w: number[],
  strides: number | [number, number],
  pad: Pad,
  depthwise = false,
  dilations: number | [number, number] = 1,
): number[] =>
  tf.backend_util.computeConv2DInfo(
    x as [number, number, number, number],
    w as [number, number, number, number],
    strides,
    dilations,
    pad as 'same',
    undefined,
    depthwise,
  ).outShape;
const first = ([b, h, w, c]: number[]): number[] => [b, c, h, w] as number[];

describe('the gradients of conv2d on wasm', () => {
  it.each(convs)('equal those of cpu for input %j, filter %j, strides %j, pad %j', async (x, w, strides, pad) => {
    const dy = random(out(x, w, strides, pad), 3);
    const attrs = { strides, pad, dataFormat: 'NHWC' };
    await expectLikeCpu('Conv2DBackpropFilter', { x: random(x), dy }, { ...attrs, filterShape: w });
    await expectLikeCpu('Conv2DBackpropInput', { dy, filter: random(w, 2) }, { ...attrs, inputShape: x });
  });

  it.each(convs.slice(0, 7))(
    'equal those of cpu with channels first for input %j, filter %j, strides %j, pad %j',
    async (x, w, strides, pad) => {
      const dy = random(first(out(x, w, strides, pad)), 3);
      const attrs = { strides, pad, dataFormat: 'NCHW' };
      await expectLikeCpu('Conv2DBackpropFilter', { x: random(first(x)), dy }, { ...attrs, filterShape: w });
      await expectLikeCpu('Conv2DBackpropInput', { dy, filter: random(w, 2) }, { ...attrs, inputShape: first(x) });
    },
  );

  it('say which input is not float32', async () => {
    const dy = { shape: [1, 2, 2, 1], data: [1, 2, 3, 4], dtype: 'int32' as const };
    const attrs = { strides: 1, pad: 'same', dataFormat: 'NHWC', filterShape: [1, 1, 1, 1] };
    await expect(runOn('wasm', 'Conv2DBackpropFilter', { x: random([1, 2, 2, 1]), dy }, attrs)).rejects.toThrow('dy: int32');
  });
});

/** input, filter, strides, padding, dilations */
const depthwise: [number[], number[], number | [number, number], Pad][] = [
  [[2, 6, 5, 3], [3, 3, 3, 1], 1, 'same'],
  [[1, 7, 8, 16], [3, 3, 16, 1], 2, 'same'],
  [[2, 7, 7, 22], [5, 5, 22, 1], 1, 'same'],
  [[2, 5, 7, 4], [3, 2, 4, 2], 1, 'valid'],
  [[1, 8, 8, 5], [3, 3, 5, 3], 2, 'same'],
  [[2, 9, 9, 7], [3, 3, 7, 1], 3, 'valid'],
  [[1, 4, 4, 6], [1, 1, 6, 1], 1, 'same'],
  [[1, 5, 6, 4], [3, 3, 4, 1], 2, sides],
  [[1, 3, 3, 40], [3, 3, 40, 1], 1, 2],
  [[1, 36, 36, 1], [34, 34, 1, 1], 1, 'same'],
];

describe('the gradients of depthwiseConv2d on wasm', () => {
  it.each(depthwise)('equal those of cpu for input %j, filter %j, strides %j, pad %j', async (x, w, strides, pad) => {
    const dy = random(out(x, w, strides, pad, true), 3);
    const attrs = { strides, pad, dilations: [1, 1] };
    await expectLikeCpu('DepthwiseConv2dNativeBackpropFilter', { x: random(x), dy }, { ...attrs, filterShape: w });
    await expectLikeCpu('DepthwiseConv2dNativeBackpropInput', { dy, filter: random(w, 2) }, { ...attrs, inputShape: x });
  });

  it.each([1, 2] as const)(
    'are the adjoints of forward under dilation 2 with multiplier %j, where cpu forgets the dilation',
    async (multiplier) => {
      const [x, w] = [random([2, 9, 8, 5]), random([3, 3, 5, multiplier], 2)];
      const attrs = { strides: [1, 1], pad: 'same', dilations: [2, 2] };
      const y = await runOn('wasm', 'DepthwiseConv2dNative', { x, filter: w }, { ...attrs, dataFormat: 'NHWC' });
      const dy = random(y.shape, 3);
      const dw = await runOn('wasm', 'DepthwiseConv2dNativeBackpropFilter', { x, dy }, { ...attrs, filterShape: w.shape });
      const dx = await runOn('wasm', 'DepthwiseConv2dNativeBackpropInput', { dy, filter: w }, { ...attrs, inputShape: x.shape });
      const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
        Array.from(a).reduce((sum, value, i) => sum + value * (b[i] as number), 0);
      const expected = dot(y.data, dy.data); // y is linear in x, and in w: <y, dy> = <dx, x> = <dw, w>
      expect(Math.abs(dot(dx.data, x.data) - expected)).toBeLessThan(1e-4 * Math.abs(expected) + 1e-4);
      expect(Math.abs(dot(dw.data, w.data) - expected)).toBeLessThan(1e-4 * Math.abs(expected) + 1e-4);
    },
  );
});

/** input, filter, strides, padding */
const conv3ds: [number[], number[], number, 'same' | 'valid'][] = [
  [[1, 4, 5, 6, 2], [2, 3, 3, 2, 3], 1, 'same'],
  [[2, 5, 4, 4, 3], [3, 2, 2, 3, 5], 2, 'same'],
  [[1, 6, 3, 4, 1], [3, 3, 3, 1, 4], 1, 'valid'],
  [[1, 3, 3, 3, 4], [1, 1, 1, 4, 8], 1, 'same'],
];

describe('conv3d and its gradients on wasm', () => {
  it.each(conv3ds)('equal those of cpu for input %j, filter %j, strides %j, pad %j', async (x, w, strides, pad) => {
    const shape = tf.backend_util.computeConv3DInfo(
      x as [number, number, number, number, number],
      w as [number, number, number, number, number],
      strides,
      1,
      pad,
    ).outShape;
    const dy = random(shape, 3);
    const attrs = { strides, pad, dataFormat: 'NDHWC', dilations: 1 };
    await expectLikeCpu('Conv3D', { x: random(x), filter: random(w, 2) }, attrs);
    await expectLikeCpu('Conv3DBackpropFilterV2', { x: random(x), dy }, { ...attrs, filterShape: w });
    await expectLikeCpu('Conv3DBackpropInputV2', { dy, filter: random(w, 2) }, { ...attrs, inputShape: x });
  });
});

describe('the gradients of dilation2d on wasm', () => {
  it.each([
    [[2, 5, 6, 3], [3, 3, 3], 1, 'same', 1],
    [[1, 7, 7, 2], [2, 3, 2], 2, 'valid', 1],
    [[1, 8, 8, 4], [3, 2, 4], 1, 'same', 2],
  ] as const)('equal those of cpu for input %j, filter %j, strides %j, pad %j, dilations %j', async (x, w, strides, pad, dilations) => {
    const info = tf.backend_util.computeDilation2DInfo([...x], [...w], strides, pad, 'NHWC', dilations);
    const inputs = { x: random([...x]), filter: random([...w], 2), dy: random(info.outShape, 3) };
    for (const kernel of ['Dilation2DBackpropInput', 'Dilation2DBackpropFilter'])
      await expectLikeCpu(kernel, inputs, { strides, pad, dilations });
  });
});

describe('fused convolutions on wasm', () => {
  const [x, filter] = [random([2, 5, 5, 3]), random([3, 3, 3, 4], 2)];
  const attrs = { strides: 1, pad: 'same', dilations: 1, activation: 'relu' };

  it.each([[[4]], [[1, 4]], [[1, 1, 1, 4]], [[5, 5, 4]], [[]], [[2, 1, 1, 4]]])('take a bias of shape %j', async (shape) => {
    const wasm = await runOn('wasm', 'FusedConv2D', { x, filter, bias: random(shape, 5) }, { ...attrs, dataFormat: 'NHWC' });
    const y = await runOn('cpu', 'Conv2D', { x, filter }, { ...attrs, dataFormat: 'NHWC' });
    await tf.setBackend('cpu');
    const expected = tf.tidy(() =>
      tf.relu(tf.add(tf.tensor(Array.from(y.data), y.shape), tf.tensor(random(shape, 5).data, shape))).dataSync(),
    );
    expect(distance(wasm.data, expected)).toBeLessThan(2e-6);
  });

  it.each(['linear', 'relu', 'relu6', 'elu', 'sigmoid', 'leakyrelu', 'prelu'])('apply %j with channels first', async (activation) => {
    const inputs = {
      x: random([2, 3, 5, 5]),
      filter,
      bias: random([4], 5),
      ...(activation === 'prelu' && { preluActivationWeights: random([4], 6) }),
    };
    await expectLikeCpu('FusedConv2D', inputs, { ...attrs, activation, dataFormat: 'NCHW', leakyreluAlpha: 0.2 });
  });
});
