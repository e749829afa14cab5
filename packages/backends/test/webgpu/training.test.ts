/** Training on webgpu from end to end, held against cpu; and what happens when a step fails or the device goes. */
import { adamW, clipByGlobalNorm, finetune, measure, restore } from '@leantune/core';
import { describeOn, memoryFile } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
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

  describe('where values are read through canvases, as in pages', () => {
    beforeEach(() => void vi.stubGlobal('OffscreenCanvas', class {}));
    afterEach(() => void vi.unstubAllGlobals());
    const optimizers = {
      sgd: () => tf.train.sgd(0.01),
      momentum: () => tf.train.momentum(0.01, 0.9, true),
      adagrad: () => tf.train.adagrad(0.01),
      adadelta: () => tf.train.adadelta(0.01),
      adam: () => tf.train.adam(0.01),
      adamax: () => tf.train.adamax(0.01),
      rmsprop: () => tf.train.rmsprop(0.01, 0.9, 0.5),
      adamW: () => adamW({ learningRate: 0.01 }),
    };
    const variablesOf = (): tf.Variable[] => Object.values(tf.engine().registeredVariables);

    test.each(Object.keys(optimizers) as (keyof typeof optimizers)[])(
      '%s moves nothing by a loss or a norm that is not finite, nor after it until that is told',
      async (name) => {
        const [model, { x, y }, outer] = [convNet(), batch(), new Set(variablesOf())];
        const tuned = finetune(model, []);
        const inner = optimizers[name]();
        const optimizer = tuned.optimizer(inner, { clipNorm: 1 });
        const file = memoryFile();
        const forward = () => model.apply(x, { training: true }) as tf.Tensor;
        const good = () => forward().mul(y).sum().neg() as tf.Scalar;
        const bad = {
          'a NaN loss': () => good().mul(Number.NaN) as tf.Scalar,
          'an infinite loss': () => good().div(0) as tf.Scalar,
          'an infinite slope': () => forward().mul(0).abs().sqrt().sum() as tf.Scalar,
        };
        const step = (loss: () => tf.Scalar): void => void tuned.minimize(loss, optimizer).dispose();
        const state = async () => [
          ...(await valuesOf(variablesOf().filter((v) => !outer.has(v)))),
          ...(await valuesOf(model.getWeights())),
          Float32Array.of(inner.iterations),
        ];
        step(good);
        step(good);
        await tuned.save(file);
        const before = await state();
        const tensors = tf.memory().numTensors;
        for (const [what, loss] of Object.entries(bad)) {
          for (const each of [loss, good, bad['a NaN loss']]) step(each);
          await vi.waitFor(() => expect(tf.memory().numTensors).toBe(tensors));
          expect((await state()).slice(0, -1), what).toEqual(before.slice(0, -1)); // the number of steps is put back with the error
          expect(() => step(good), what).toThrow(/ of an earlier step was .*Weights and optimizer are as they were/);
          expect(await state(), what).toEqual(before);
        }
        step(bad['a NaN loss']);
        await expect(tuned.save(file)).rejects.toThrow('of an earlier step was NaN');
        await tuned.save(file);
        expect(await state()).toEqual(before);
        step(good);
        expect((await state())[0]).not.toEqual(before[0]);
        tuned.dispose();
        optimizer.dispose();
        model.dispose();
        tf.dispose([x, y]);
      },
    );
  });

  test('clipByGlobalNorm reads nothing at once where values are read through canvases, and tells of a norm that is not finite with the next call', async () => {
    const gradients = (value: number) => ({ a: tf.tensor1d([3, value]), b: tf.tensor2d([[0], [12]]) });
    vi.stubGlobal('OffscreenCanvas', class {});
    const before = tf.memory().numTensors;
    try {
      for (const [bound, scale] of [
        [6.5, 0.5],
        [20, 1],
      ] as const) {
        const readSync = vi.spyOn(tf.backend(), 'readSync');
        const clipped = clipByGlobalNorm(gradients(4), bound);
        expect(readSync).not.toHaveBeenCalled();
        readSync.mockRestore();
        const [a, b] = await valuesOf([clipped['a']!, clipped['b']!]);
        for (const [i, value] of [3, 4, 0, 12].entries()) expect([...a!, ...b!][i]).toBeCloseTo(scale * value, 5);
        tf.dispose(clipped);
      }
      const nothing = clipByGlobalNorm(gradients(Number.NaN), 1);
      expect((await valuesOf([nothing['a']!, nothing['b']!])).map((values) => [...values])).toEqual([
        [0, 0],
        [0, 0],
      ]);
      tf.dispose(nothing);
      await vi.waitFor(() => expect(tf.memory().numTensors).toBe(before));
      const next = gradients(4);
      expect(() => clipByGlobalNorm(next, 1)).toThrow(
        'the global norm of an earlier call was NaN, and the gradients that it returned are zeros',
      );
      tf.dispose([next, clipByGlobalNorm(gradients(4), 1)]);
      await vi.waitFor(() => expect(tf.memory().numTensors).toBe(before));
    } finally {
      vi.unstubAllGlobals();
    }
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
    const lost = /^\[webgpu\] no memory\. Values computed since then are lost: restore the last saved adapter.*\n\nHeld/;
    expect(() => step(outOfMemory)).toThrow(lost);
    outOfMemory(); // as reported after the step that caused it
    expect(() => step(() => {})).toThrow(
      /Held by the last step before this was reported: weights \d\.\d\d MB, optimizer .*, kept for backward 0\.\d*[1-9]\d* MB \(most for .*gradients [^;]*; what kernels were computing comes on top\.\nTo need less:\n- /,
    );
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
