/** What core's gradient rules and optimizer get from fused kernels of webgpu is what they get from ops on cpu. */
import { adamW } from '@leantune/core';
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { distance, random } from '../compare.ts';
import { batchNormLoss, batchNormVariables, expectGradientsOfCpu, read, variable } from '../fused-gradients.ts';

const expectSame = (make: () => tf.Variable[], loss: (v: tf.Variable[]) => tf.Scalar, kernel?: string) =>
  expectGradientsOfCpu('webgpu', 5e-6, make, loss, kernel);

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test.each([8, 3])('batch norm of %i channels in training: gradients of x, mean, variance, scale and offset', (c) =>
    expectSame(() => batchNormVariables(c), batchNormLoss, 'FusedBatchNormGrad'),
  );

  test.each(['ReluGrad', 'InRange', 'ClipByValueGrad'])('relu and a clip: %s', (kernel) =>
    expectSame(
      () => [variable([4, 7, 8], 1), variable([4, 7, 8], 2)],
      ([x, w]) => tf.add(tf.sum(tf.mul(tf.relu(x!), w!)), tf.sum(tf.square(tf.clipByValue(tf.mul(x!, w!), -0.3, 0.4)))),
      kernel,
    ),
  );

  test('relu under a mean over axes between: its dy is broadcast along axes that are no neighbours', () =>
    expectSame(
      () => [variable([2, 3, 3, 8], 1), variable([2, 8], 2)],
      ([x, w]) => tf.sum(tf.mul(tf.mean(tf.relu(x!), [1, 2]), w!)),
      'ReluGrad',
    ));

  test('softmax', () =>
    expectSame(
      () => [variable([3, 5, 9], 1), variable([3, 5, 9], 2)],
      ([x, w]) => tf.sum(tf.mul(tf.softmax(x!), w!)),
      'SoftmaxGrad',
    ));

  test('gather, with an id that comes twice', () =>
    expectSame(
      () => [variable([7, 4], 1), variable([2, 3, 4], 2)],
      ([table, w]) =>
        tf.sum(
          tf.mul(
            tf.gather(
              table!,
              tf.tensor2d(
                [
                  [1, 4, 1],
                  [6, 1, 0],
                ],
                [2, 3],
                'int32',
              ),
            ),
            w!,
          ),
        ),
    ));

  test('AdamW moves weights as on cpu, in place, makes nothing, and spares a tensor that shares them', async () => {
    const steps = async (backend: 'cpu' | 'webgpu') => {
      await tf.setBackend(backend);
      const weights = [variable([5, 4], 1), variable([3], 2)];
      const optimizer = adamW({ learningRate: 0.1, weightDecay: 0.1 });
      const kept = weights[0]!.clone();
      const original = (await read([kept]))[0]!;
      for (let i = 0; i < 4; i++) {
        const gradients = Object.fromEntries(weights.map((w, j) => [w.name, tf.tensor(random(w.shape, 10 * i + j + 5).data, w.shape)]));
        const [ids, before] = [weights.map((w) => w.dataId), tf.memory().numTensors];
        optimizer.applyGradients(gradients);
        if (backend === 'webgpu' && i > 0) expect(weights.map((w) => w.dataId)).toEqual(ids);
        if (i > 0) expect(tf.memory().numTensors).toBe(before);
        tf.dispose(gradients);
        await read(weights); // what is cached must not go stale
      }
      expect((await read([kept]))[0]).toEqual(original);
      const out = await read(weights);
      optimizer.dispose();
      tf.dispose([kept, weights]);
      return out;
    };
    const [cpu, webgpu] = [await steps('cpu'), await steps('webgpu')];
    for (const [i, values] of webgpu.entries()) expect(distance(values, cpu[i]!)).toBeLessThan(2e-6);
  });
});
