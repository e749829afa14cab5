/** Training on webgpu from end to end, held against cpu; and what happens when a step fails or the device goes. */
import { finetune, measure, restore } from '@leantune/core';
import { describeOn, memoryFile } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { poolUse, type WebGPUBackend } from '../../src/webgpu/index.ts';

function convNet(): tf.Sequential {
  const seeded = (seed: number) => tf.initializers.glorotNormal({ seed });
  return tf.sequential({
    layers: [
      tf.layers.conv2d({
        inputShape: [8, 8, 3],
        filters: 4,
        kernelSize: 3,
        activation: 'relu',
        kernelInitializer: seeded(1),
        name: 'conv',
      }),
      tf.layers.batchNormalization({ name: 'norm' }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 3, activation: 'softmax', kernelInitializer: seeded(2), name: 'head' }),
    ],
  });
}

const batch = () => ({
  x: tf.randomNormal([6, 8, 8, 3], 0, 1, 'float32', 3),
  y: tf.tidy(() => tf.oneHot(tf.tensor1d([0, 1, 2, 0, 1, 2], 'int32'), 3).toFloat()),
});

const valuesOf = (tensors: readonly tf.Tensor[]) => Promise.all(tensors.map(async (t) => Float32Array.from(await t.data())));

async function fitOn(backend: 'cpu' | 'webgpu') {
  await useBackend(backend);
  const [model, { x, y }] = [convNet(), batch()];
  const tuned = finetune(model, []);
  model.compile({ optimizer: tuned.optimizer(tf.train.adam(0.01), { clipNorm: 1 }), loss: 'categoricalCrossentropy' });
  const { history } = await model.fit(x, y, { epochs: 3, batchSize: 3, shuffle: false, verbose: 0 });
  const weights = await valuesOf(model.getWeights());
  tuned.dispose();
  tf.dispose([x, y]);
  model.dispose();
  return { losses: history['loss'] as number[], weights };
}

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test('model.fit gives the losses and weights of cpu', async () => {
    const [cpu, webgpu] = [await fitOn('cpu'), await fitOn('webgpu')];
    expect(webgpu.losses).toBeClose(cpu.losses, { rel: 1e-4, because: 'sums in another order, six steps of Adam' });
    for (const [i, expected] of cpu.weights.entries()) expect(webgpu.weights[i]!).toBeClose(expected, { rel: 1e-3, abs: 1e-4 });
  });

  test('a loss that is not finite leaves weights, statistics and optimizer as they were', async () => {
    const [model, { x, y }] = [convNet(), batch()];
    const tuned = finetune(model, []);
    const inner = tf.train.adam(0.01);
    const optimizer = tuned.optimizer(inner);
    const loss = (scale: number) => () =>
      tf.tidy(() => (model.apply(x, { training: true }) as tf.Tensor).mul(y).sum().mul(scale) as tf.Scalar);
    tuned.minimize(loss(-1), optimizer).dispose();
    const slots = async () => valuesOf((await inner.getWeights()).map(({ tensor }) => tensor));
    const before = [...(await valuesOf(model.getWeights())), ...(await slots())];
    expect(() => tuned.minimize(loss(Number.NaN), optimizer)).toThrow(/the loss is NaN\. Weights and optimizer are as they were/);
    expect([...(await valuesOf(model.getWeights())), ...(await slots())]).toEqual(before);
    tuned.minimize(loss(-1), optimizer).dispose();
    expect([...(await valuesOf(model.getWeights()))]).not.toEqual(before.slice(0, model.getWeights().length));
    tuned.dispose();
    tf.dispose([x, y]);
    model.dispose();
  });

  test('where values are read through canvases, as in pages, a loss that is not finite is told by the step after it', async () => {
    vi.stubGlobal('OffscreenCanvas', class {});
    const w = tf.variable(tf.ones([2]));
    const tuned = finetune({ w }, []);
    const optimizer = tuned.optimizer(tf.train.sgd(0.1));
    const step = (scale: number) => tuned.minimize(() => tf.mul(tf.sum(w), scale) as tf.Scalar, optimizer).dispose();
    const before = tf.memory().numTensors;
    step(Number.NaN);
    await vi.waitFor(() => expect(tf.memory().numTensors).toBe(before));
    expect(() => step(1)).toThrow(/the loss of an earlier step was NaN\. .*restore the last saved adapter/);
    w.assign(tf.tidy(() => tf.ones([2])));
    step(1);
    expect([...(await w.data())].map((value) => value.toFixed(3))).toEqual(['0.900', '0.900']);
    vi.unstubAllGlobals();
    tuned.dispose();
    w.dispose();
  });

  test('what fails on the GPU amid a step, reported late, moves no weight', async () => {
    const [model, { x, y }] = [convNet(), batch()];
    const tuned = finetune(model, []);
    const optimizer = tuned.optimizer(tf.train.adam(0.01));
    const { device } = tf.backend() as WebGPUBackend;
    const step = (fault: () => unknown) =>
      tuned.minimize(() => {
        fault();
        return tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar;
      }, optimizer);
    step(() => {}).dispose();
    const before = await valuesOf(model.getWeights());
    const invalid = () => device.createBuffer({ size: 16, usage: 0xff });
    expect(() => step(invalid)).toThrow(expect.objectContaining({ code: 'kernel-failed' }));
    expect(await valuesOf(model.getWeights())).toEqual(before);
    const outOfMemory = () => {
      const error = new GPUOutOfMemoryError('no memory');
      (device as unknown as EventTarget).dispatchEvent(new GPUUncapturedErrorEvent('uncapturederror', { error }));
    };
    expect(() => step(outOfMemory)).toThrow(/^\[webgpu\] no memory\. Values computed since then are lost: restore the last saved adapter/);
    expect(await valuesOf(model.getWeights())).toEqual(before);
    step(() => {}).dispose();
    expect(await valuesOf(model.getWeights())).not.toEqual(before);
    tuned.dispose();
    tf.dispose([x, y]);
    model.dispose();
  });

  test('measure gives the pool’s figures beside its own, and an error of memory says what the peak was made of', async () => {
    const [model, { x, y }] = [convNet(), batch()];
    const tuned = finetune(model, []);
    const optimizer = tuned.optimizer(tf.train.sgd(0.01));
    const step = () =>
      tuned
        .minimize(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar, optimizer)
        .dispose();
    step();
    const { memory } = measure(step, { model });
    expect(memory.gpu?.allocatedBytes).toBeGreaterThanOrEqual(memory.gpu?.usedBytes as number);
    expect(memory.gpu?.usedBytes).toBeGreaterThan(0);
    const before = await valuesOf(model.getWeights());
    await useBackend('webgpu', { maxBytes: poolUse(tf.backend()).used + 1024 });
    expect(() => measure(step, { model })).toThrow(/^\[webgpu\] a tensor asks for[\s\S]*at peak +[kM]?B[\s\S]*kept for backward/);
    await useBackend('webgpu');
    expect(await valuesOf(model.getWeights())).toEqual(before);
    step();
    tuned.dispose();
    tf.dispose([x, y]);
    model.dispose();
  });

  test('after the device is lost amid training, it goes on from the last saved adapter on a new one', async () => {
    const file = memoryFile();
    const first = convNet();
    const data = batch();
    const tuned = finetune(first, [], { trainable: 'head' });
    const optimizer = tuned.optimizer(tf.train.sgd(0.1));
    const loss =
      (model: tf.Sequential, { x, y }: ReturnType<typeof batch>) =>
      () =>
        tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar;
    tuned.minimize(loss(first, data), optimizer).dispose();
    await tuned.save(file);
    const saved = await valuesOf(tuned.variables);

    (tf.backend() as WebGPUBackend).device.destroy();
    const lost = await (async () => {
      for (let i = 0; i < 5; i++) {
        tuned.minimize(loss(first, data), optimizer).dispose();
        await tf.nextFrame();
      }
    })().catch((error: unknown) => error);
    expect(lost).toMatchObject({ code: 'device-lost' });
    expect(String(lost)).toContain("Call useBackend('webgpu') for a new one, load the model, and restore the last saved adapter");

    await useBackend('webgpu');
    const [second, again] = [convNet(), batch()];
    const restored = await restore(second, file);
    expect(await valuesOf(restored.variables)).toEqual(saved);
    const next = restored.minimize(loss(second, again), restored.optimizer(tf.train.sgd(0.1)));
    expect((await next.data())[0]).toBeGreaterThan(0);
    restored.dispose();
    tf.dispose([next, again.x, again.y]);
    second.dispose();
  });
});
