/** `tf.train.sgd` in place. */
import { finetune, measure } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { useBackend } from '../src/index.ts';
import { random } from './compare.ts';

for (const backend of ['wasm', 'tensorflow', 'webgpu'] as const) {
  await describeOn(backend, () => {
    beforeAll(() => useBackend(backend).then(() => undefined));

    test('a step of tf.train.sgd moves weights where they lie, and no clone of them', () => {
      const weight = tf.variable(tf.tensor1d([1, 2, 3]));
      const clone = weight.clone();
      const tuned = finetune({ weight }, [], { trainable: ['weight'] });
      const before = tf.memory().numTensors;
      const assign = vi.spyOn(tf.Variable.prototype, 'assign');
      const optimizer = tf.train.sgd(0.5);
      for (let i = 0; i < 2; i++) tuned.minimize(() => tf.sum(tf.square(weight)), optimizer).dispose();
      expect(assign).toHaveBeenCalledTimes(1); // the first step finds a clone on the buffer, and moves off it
      assign.mockRestore();
      expect([...weight.dataSync()]).toEqual([0, 0, 0]);
      expect([...clone.dataSync()]).toEqual([1, 2, 3]);
      expect(tf.memory().numTensors).toBe(before + 1); // the optimizer's learning rate
      tuned.dispose();
      tf.dispose([weight, clone]);
      optimizer.dispose();
    });

    test('a gradient that broadcasts moves all weights, step after step, and none is read past its end', () => {
      const weight = tf.variable(tf.tensor1d([0, 1, 2, 3]));
      const tuned = finetune({ weight });
      const optimizer = tuned.optimizer(tf.train.sgd(0.5));
      for (let step = 1; step <= 3; step++) {
        const gradient = tf.scalar(1);
        optimizer.applyGradients({ [weight.name]: gradient });
        gradient.dispose();
        expect([...weight.dataSync()]).toEqual([0, 1, 2, 3].map((value) => value - step / 2));
      }
      tuned.dispose();
      optimizer.dispose();
      weight.dispose();
    });
  });
}

await describeOn('wasm', () => {
  beforeAll(() => useBackend('wasm').then(() => undefined));

  test.each([[[0]], [[1]], [[7, 11]], [[64, 33]]])('of shape %j the weights are those of the ops, bit for bit', (shape) => {
    const [w, g] = [random(shape, 1).data, random(shape, 2).data];
    const [moved, stock] = [tf.variable(tf.tensor(w, shape)), tf.variable(tf.tensor(w, shape))];
    const gradient = tf.tensor(g, shape);
    const optimizer = tf.train.sgd(0.1);
    optimizer.applyGradients({ [stock.name]: gradient });
    const before = tf.memory().numTensors;
    tf.engine().runKernel('SgdUpdate', { variable: moved, gradient }, { rate: 0.1 });
    expect(tf.memory().numTensors).toBe(before);
    expect([...moved.dataSync()]).toEqual([...stock.dataSync()]);
    optimizer.dispose();
    tf.dispose([moved, stock, gradient]);
  });

  test('what comes after reads the new weights: three steps of a model are those of the ops, bit for bit', () => {
    const steps = () => {
      const kernelInitializer = tf.initializers.randomNormal({ seed: 1 });
      const model = tf.sequential({
        layers: [
          tf.layers.conv2d({ inputShape: [8, 8, 3], filters: 8, kernelSize: 3, kernelInitializer }),
          tf.layers.depthwiseConv2d({ kernelSize: 3, depthwiseInitializer: kernelInitializer }),
          tf.layers.batchNormalization({}),
          tf.layers.reLU({}),
          tf.layers.conv2d({ filters: 4, kernelSize: 1, activation: 'relu', kernelInitializer }),
          tf.layers.flatten({}),
          tf.layers.dense({ units: 3, kernelInitializer }),
        ],
      });
      const tuned = finetune(model);
      const optimizer = tuned.optimizer(tf.train.sgd(0.1));
      const x = tf.randomNormal([4, 8, 8, 3], 0, 1, 'float32', 2);
      for (let i = 0; i < 3; i++) {
        const loss = () => tf.tidy(() => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar);
        tuned.minimize(loss, optimizer).dispose();
      }
      const weights = model.getWeights().map((weight) => [...weight.dataSync()]);
      tuned.dispose();
      optimizer.dispose();
      model.dispose();
      x.dispose();
      return weights;
    };
    const moved = steps();
    const kernel = tf.getKernel('SgdUpdate', 'wasm');
    tf.unregisterKernel('SgdUpdate', 'wasm');
    try {
      expect(moved).toEqual(steps());
    } finally {
      tf.registerKernel(kernel);
    }
  });

  test('nothing moves where a condition does not hold', () => {
    const weight = tf.variable(tf.tensor1d([1, 2]));
    const inputs = { variable: weight, gradient: tf.ones([2]), finite: tf.tensor1d([false], 'bool') };
    tf.engine().runKernel('SgdUpdate', inputs, { rate: 1 });
    expect([...weight.dataSync()]).toEqual([1, 2]);
    tf.dispose(inputs);
  });

  test('a step takes no room beside weights and gradient', () => {
    const size = 100_000;
    const weight = tf.variable(tf.zeros([size]));
    const tuned = finetune({ weight }, [], { trainable: ['weight'] });
    const optimizer = tf.train.sgd(0.5);
    const x = tf.ones([size]);
    const step = () => tuned.minimize(() => tf.sum(tf.mul(weight, x)), optimizer).dispose();
    step();
    const { memory } = measure(step);
    expect(memory.peakAboveWeights).toBeLessThan(2.1 * 4 * size); // in backward, that of the sum and that of the weights
    tuned.dispose();
    optimizer.dispose();
    tf.dispose([weight, x]);
  });
});
