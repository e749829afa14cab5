/** Sums, means and softmax of rows, and what is moved four at a time, against tfjs's cpu backend; with the plans of the adapter, and of a GPU. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import type { WebGPUBackend } from '../../src/webgpu/index.ts';
import { distance, random, runOn, type Values } from '../compare.ts';

/** Those of fewer than a thousand elements tfjs computes on the CPU. */
async function expectLikeCpu(kernel: string, inputs: { [name: string]: Values }, attrs: object, tolerance = 2e-6): Promise<void> {
  const cpu = await runOn('cpu', kernel, inputs, attrs);
  const webgpu = await runOn('webgpu', kernel, inputs, attrs);
  expect(webgpu.shape).toEqual(cpu.shape);
  expect(webgpu.dtype).toBe(cpu.dtype);
  expect(distance(webgpu.data, cpu.data)).toBeLessThanOrEqual(tolerance);
}

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  describe.each(['its adapter', 'a GPU'])('with the plans of %s', (kind) => {
    beforeEach(async () => {
      await tf.setBackend('webgpu');
      const { device } = tf.backend() as WebGPUBackend;
      if (kind === 'a GPU') Object.defineProperty(device, 'adapterInfo', { value: { description: 'a GPU' }, configurable: true });
    });
    afterEach(async () => {
      await tf.setBackend('webgpu');
      Reflect.deleteProperty((tf.backend() as WebGPUBackend).device, 'adapterInfo');
    });

    test.each([
      [[40, 30], 1],
      [
        [7, 3, 130],
        [1, 2],
      ],
      [[2000, 1], 1],
      [[300, 4], [-1]],
      [[1100], 0],
      [[3, 5000], 1],
      [
        [30, 40, 1],
        [1, 2],
      ],
    ])('Sum and Mean of %j over %j', async (shape, axis) => {
      for (const keepDims of [false, true]) {
        await expectLikeCpu('Sum', { x: random(shape) }, { axis, keepDims });
        await expectLikeCpu('Mean', { x: random(shape) }, { axis, keepDims });
      }
    });

    test.each([[[40, 30]], [[3, 5, 129]], [[1500, 1]], [[1, 3000]]])('Softmax of %j', async (shape) => {
      await expectLikeCpu('Softmax', { logits: random(shape) }, { dim: shape.length - 1 });
      const far = random(shape).data.map((value) => 200 * value - 1000);
      await expectLikeCpu('Softmax', { logits: { shape, data: far } }, { dim: -1 }, 2e-5);
    });
  });

  test('softmax of a row with infinity or NaN is NaN, and its neighbours are not; of minus infinity it is 0', async () => {
    const rows = [
      [1, Number.NEGATIVE_INFINITY, 1],
      [Number.NaN, 0, 1],
      [0, 1, Number.POSITIVE_INFINITY],
    ];
    const x = tf.tensor2d([...rows, ...Array.from({ length: 400 }, () => [0, 0, 0])]);
    const y = tf.softmax(x);
    const data = [...(await y.data())];
    expect(data.slice(0, 3)).toEqual([0.5, 0, 0.5]);
    expect(data.slice(3, 6).every(Number.isNaN)).toBe(true);
    expect(data.slice(6, 9).some(Number.isNaN)).toBe(true);
    expect(data.slice(9).every((value) => Math.abs(value - 1 / 3) < 1e-6)).toBe(true);
    tf.dispose([x, y]);
  });

  test.each([
    ['Transpose', [4, 6, 5, 12], { perm: [0, 2, 1, 3] }],
    ['Transpose', [40, 8, 8], { perm: [1, 0, 2] }],
    ['Transpose', [4, 6, 5, 12], { perm: [0, 2, 3, 1] }],
    ['Transpose', [7, 3, 61], { perm: [1, 0, 2] }],
    ['Tile', [10, 1, 8], { reps: [1, 20, 1] }],
    ['Tile', [3, 2, 4, 12], { reps: [2, 1, 3, 2] }],
    ['Tile', [500, 3], { reps: [1, 2] }],
    ['Tile', [1200, 1], { reps: [1, 4] }],
  ])('%s of %j by %j is bit for bit that of cpu', (kernel, shape, attrs) => expectLikeCpu(kernel, { x: random(shape) }, attrs, 0));
});
