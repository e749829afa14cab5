/** What loss scaling is for, where gradients lie below float16's smallest number; and that it gives them back as they are. */
import { useBackend } from '@leantune/backends';
import { finetune, type Technique } from '@leantune/core';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { dynamicLossScale, fixedLossScale, mixedPrecision } from '../src/index.ts';

const backends = await available(['wasm', 'webgpu']);

describe.each(backends)('on %s', (backend) => {
  beforeAll(() => useBackend(backend).then(() => undefined));

  /** A line through 32 points, by a loss that is 2^-26 of the usual one. @returns that loss before and after, in float32 */
  function learn(techniques: Technique[]): { first: number; last: number; moved: boolean } {
    const kernel = () => ({ kernelInitializer: tf.initializers.glorotUniform({ seed: 3 }) });
    const model = tf.sequential({
      layers: [
        tf.layers.dense({ units: 16, inputShape: [4], activation: 'tanh', ...kernel() }),
        tf.layers.dense({ units: 1, ...kernel() }),
      ],
    });
    const tuned = finetune(model, techniques);
    const [x, y] = tf.tidy(() => {
      const given = tf.randomNormal([32, 4], 0, 1, 'float32', 5);
      return [given, tf.sum(given, 1, true)] as const;
    });
    const small = 2 ** -26;
    const error = (): tf.Scalar =>
      tf.tidy(() => tf.mean(tf.squaredDifference(y, model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar);
    const optimizer = tuned.optimizer(tf.train.sgd(0.05 / small));
    const [before, first] = [tuned.variables.map((v) => v.dataSync().slice()), error()];
    for (let i = 0; i < 40; i++) tf.dispose(tuned.minimize(() => tf.tidy(() => tf.mul(error(), small) as tf.Scalar), optimizer));
    const last = error();
    const moved = tuned.variables.some((v, i) => String(v.dataSync()) !== String(before[i]));
    const result = { first: first.dataSync()[0]!, last: last.dataSync()[0]!, moved };
    tuned.dispose();
    optimizer.dispose();
    model.dispose();
    tf.dispose([x, y, first, last]);
    return result;
  }

  it('float16 learns nothing without scaling, and as float32 with it', () => {
    const { numTensors } = tf.memory();
    const full = learn([]);
    const unscaled = learn([mixedPrecision({ lossScale: 'none' })]);
    const scaled = learn([mixedPrecision({ lossScale: dynamicLossScale({ initial: 2 ** 40 }) })]); // falls to what fits
    expect(full.last).toBeLessThan(0.1 * full.first);
    expect(unscaled.last).toBeGreaterThan(0.9 * unscaled.first);
    expect(Math.abs(scaled.last - full.last)).toBeLessThan(0.1 * full.first);
    expect(scaled.moved).toBe(true);
    expect(tf.memory().numTensors).toBe(numTensors);
  });

  it('two weights whose gradients are one tensor are unscaled once each', () => {
    const [a, b] = [tf.variable(tf.ones([3])), tf.variable(tf.ones([3]))];
    const tuned = finetune({ a, b }, mixedPrecision({ lossScale: fixedLossScale(256) }));
    const optimizer = tuned.optimizer(tf.train.sgd(1));
    tf.dispose(tuned.minimize(() => tf.tidy(() => tf.sum(tf.add(a, b)) as tf.Scalar), optimizer));
    for (const v of [a, b]) expect(Array.from(v.dataSync())).toEqual([0, 0, 0]);
    tuned.dispose();
    optimizer.dispose();
  });
});
