/** Updates of many variables in one kernel: the bits of one kernel a variable, on tensors of any size, and only where they may. */
import { adamW, finetune } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { useBackend } from '../../src/index.ts';
import type { WebGPUBackend } from '../../src/webgpu/index.ts';
import { distance, random } from '../compare.ts';
import { read, variable } from '../fused-gradients.ts';

const shapes = [[3], [8], [1], [0], [5, 7], [64, 33], [2, 2], [1000], [9], [16], [16], [4, 3, 2], [31]];
const rates = { beta1: 0.9, beta2: 0.99, correction: 0.5, epsilon: 1e-8, rate: 0.1 };
const device = () => (tf.backend() as WebGPUBackend).device;
const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: object) =>
  tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap) as unknown as tf.Tensor[];

/** Of each shape: weights, both moments and a gradient. */
const parts = ['variable', 'm', 'v', 'gradient'];
const makeAll = (): tf.Tensor[][] =>
  shapes.map((shape, i) => parts.map((name, j) => tf.tidy(() => (name === 'v' ? tf.square : tf.clone)(variableOf(shape, 4 * i + j)))));
const variableOf = (shape: number[], seed: number): tf.Tensor => tf.tensor(random(shape, seed + 1).data, shape);
const named = (all: tf.Tensor[][]): tf.NamedTensorMap =>
  Object.fromEntries(all.flatMap((one, i) => one.map((t, j) => [`${parts[j]}${i}`, t])));
const shrinks = shapes.map((_, i) => 1 - i / 100);

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test('AdamW of thirteen tensors takes no more than four kernels on sixteen bindings, and gives the bits of thirteen', async () => {
    const [together, alone] = [makeAll(), makeAll()];
    const before = tf.memory().numTensors;
    const bind = vi.spyOn(device(), 'createBindGroup');
    run('AdamWUpdateAll', named(together), { ...rates, shrink: shrinks });
    const limit = Math.floor(device().limits.maxStorageBuffersPerShaderStage / parts.length);
    expect(bind.mock.calls.length).toBe(Math.ceil(7 / limit) + Math.ceil(5 / limit)); // seven are read by fours, five by ones, one has nothing
    bind.mockRestore();
    alone.forEach((one, i) => run('AdamWUpdateAll', named([one]), { ...rates, shrink: [shrinks[i]] }));
    expect(tf.memory().numTensors).toBe(before);
    expect(await read(together.flat())).toEqual(await read(alone.flat()));
    tf.dispose([together, alone]);
  });

  test.each([
    ['AdamWUpdateAll', { ...rates, shrink: shrinks }],
    ['SgdUpdateAll', { rate: 0.1, count: shapes.length }],
  ])('%s moves nothing where a condition on the device does not hold', async (kernel, attrs) => {
    const all = makeAll();
    const start = await read(all.flat());
    for (const holds of [false, true]) {
      const finite = tf.tensor1d([holds], 'bool');
      run(kernel, { ...named(all), finite }, attrs);
      const now = await read(all.flat());
      expect(now.every((values, i) => values.every((value, j) => value === start[i]![j]))).toBe(!holds);
      finite.dispose();
    }
    tf.dispose(all);
  });

  test.each([
    ['tf.train.sgd', () => tf.train.sgd(0.1)],
    ['adamW', () => adamW({ learningRate: 0.1 })],
  ])('two steps of %s move weights as on cpu, and spare a clone', async (_, make) => {
    const steps = async (backend: 'cpu' | 'webgpu') => {
      await tf.setBackend(backend);
      const weights = Object.fromEntries(shapes.map((shape, i) => [`w${i}`, variable(shape, i + 1)]));
      const clone = weights['w4']!.clone();
      const original = await read([clone]);
      const tuned = finetune(weights, [], { trainable: /./ });
      const optimizer = tuned.optimizer(make());
      const loss = () => tf.addN(Object.values(weights).map((w) => tf.sum(tf.square(w)))) as tf.Scalar;
      let before = 0;
      for (let i = 0; i < 2; i++) {
        tuned.minimize(loss, optimizer).dispose();
        if (i === 0) before = tf.memory().numTensors;
      }
      expect(tf.memory().numTensors).toBe(before);
      expect(await read([clone])).toEqual(original);
      const moved = await read(Object.values(weights));
      tuned.dispose();
      optimizer.dispose();
      tf.dispose([clone, weights]);
      return moved;
    };
    const [cpu, webgpu] = [await steps('cpu'), await steps('webgpu')];
    webgpu.forEach((values, i) => expect(distance(values, cpu[i]!)).toBeLessThan(2e-6));
  });
});
