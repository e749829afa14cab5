/** Loss scaling step by step as torch's GradScaler and Keras's LossScaleOptimizer do it, and what a skipped step leaves alone. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, type Tuned } from '@leantune/core';
import { memoryFile } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { dynamicLossScale, fixedLossScale, type LossScale, mixedPrecision } from '../src/index.ts';

interface Step {
  readonly finite: boolean;
  readonly scale: number;
  readonly weight: readonly number[];
  readonly iterations?: number;
}
type Runs = { readonly [name: string]: readonly Step[] };
const fixtures: { readonly torch: Runs; readonly keras: Runs } = JSON.parse(
  readFileSync(join(import.meta.dirname, 'fixtures/loss_scale.json'), 'utf8'),
);

beforeAll(async () => {
  await useBackend('cpu');
});

/** Weights [1, 1], a loss that is 0 and whose gradient is the coefficients. */
function start(lossScale: LossScale) {
  const w = tf.variable(tf.tensor1d([1, 1]), true, `w${Math.random()}`);
  const tuned = finetune({ w }, mixedPrecision({ lossScale }));
  const loss = (coefficients: readonly number[]) => () => {
    const zero = tf.sub(w, tf.tensor1d(w.dataSync()));
    const again = coefficients.map((c) => (c === OVERFLOW ? c : 1));
    return tf.sum(tf.mul(tf.mul(zero, tf.tensor1d([...coefficients])), tf.tensor1d(again))) as tf.Scalar;
  };
  return { w, tuned, loss };
}

async function scaleOf(tuned: Tuned<never>): Promise<readonly number[]> {
  const file = memoryFile();
  await tuned.save(file);
  const { weightSpecs, weightData } = file.artifacts!;
  const at = weightSpecs!.findIndex(({ name }) => name.endsWith('lossScale'));
  const before = weightSpecs!.slice(0, at).reduce((n, { shape }) => n + 4 * tf.util.sizeFromShape(shape), 0);
  return Array.from(new Float32Array((weightData as ArrayBuffer).slice(before, before + 8)));
}

/** A coefficient that is multiplied with twice: the gradient is infinite, the loss is not. */
const OVERFLOW = 3e38;

async function replay(lossScale: LossScale, steps: readonly Step[]): Promise<void> {
  const { w, tuned, loss } = start(lossScale);
  const optimizer = tuned.optimizer(tf.train.sgd(0.5));
  for (const [i, { finite, scale, weight, iterations }] of steps.entries()) {
    tf.dispose(tuned.minimize(loss([finite ? 1 : OVERFLOW, 1]), optimizer));
    expect((await scaleOf(tuned as never))[0], `scale after step ${i + 1}`).toBeCloseTo(scale, -Math.log10(scale) + 4);
    expect(Array.from(w.dataSync()), `weights after step ${i + 1}`).toEqual(weight);
    if (iterations !== undefined) expect(optimizer.iterations, `iterations after step ${i + 1}`).toBe(iterations);
  }
  tuned.dispose();
}

const countedSchedule = (seen: number[]) => (step: number) => {
  seen.push(step);
  return 0.1 / (step + 1);
};

describe('the scale after each step', () => {
  it.each([
    ['default', dynamicLossScale({ preset: 'torch' })],
    ['every 3', dynamicLossScale({ preset: 'torch', interval: 3 })],
    ['other factors', dynamicLossScale({ initial: 100, growth: 1.5, backoff: 0.3, interval: 2 })],
    ['to the end of float32', dynamicLossScale({ initial: 2 ** 125, interval: 1 })],
  ] as const)("is that of torch's GradScaler: %s", (name, lossScale) => replay(lossScale, fixtures.torch[name]!));

  it.each([
    ['default', dynamicLossScale()],
    ['every 3', dynamicLossScale({ interval: 3 })],
  ] as const)("is that of Keras's LossScaleOptimizer: %s", (name, lossScale) => replay(lossScale, fixtures.keras[name]!));

  it.each(['torch', 'keras'] as const)('grows after 2000 steps by the preset %s', async (preset) => {
    const { w, tuned, loss } = start(dynamicLossScale({ preset }));
    const optimizer = tuned.optimizer(tf.train.sgd(0.5));
    const steps = fixtures[preset]['2000 steps']!;
    for (let i = 0; i < 2009; i++) {
      const expected = steps[i - 2009 + steps.length];
      tf.dispose(tuned.minimize(loss([i === 2005 ? OVERFLOW : 1, 1]), optimizer));
      if (expected) expect((await scaleOf(tuned as never))[0], `scale after step ${i + 1}`).toBe(expected.scale);
    }
    expect(Array.from(w.dataSync())).toEqual(steps.at(-1)!.weight);
    tuned.dispose();
  });
});

describe('a step with gradients that are not finite', () => {
  it('moves neither weights, moments, step count nor schedule', async () => {
    const seen: number[] = [];
    const run = async (overflows: boolean) => {
      const { w, tuned, loss } = start(fixedLossScale(1024));
      const optimizer = tuned.optimizer(adamW({ learningRate: 0.1 }), { schedule: countedSchedule(seen) });
      const coefficients = [[1, -2], ...(overflows ? [[OVERFLOW, 1]] : []), [3, 0.5]];
      for (const c of coefficients) tf.dispose(tuned.minimize(loss(c), optimizer));
      const state = await optimizer.getWeights();
      const values = [...w.dataSync(), ...state.slice(1).flatMap(({ tensor }) => [...tensor.dataSync()])];
      state[0]!.tensor.dispose();
      tuned.dispose();
      return { values, iterations: optimizer.iterations };
    };
    expect(await run(true)).toEqual(await run(false));
    expect(seen).toEqual([0, 1, 0, 1]);
  });

  it('skips all batches of its group, which have one scale', async () => {
    const { w, tuned, loss } = start(dynamicLossScale({ initial: 1024, interval: 1 }));
    const optimizer = tuned.optimizer(tf.train.sgd(1), { accumulate: 3 });
    const scales: number[] = [];
    for (const c of [1, OVERFLOW, 1, 2, 4, 6]) {
      tf.dispose(tuned.minimize(loss([c, 1]), optimizer));
      scales.push((await scaleOf(tuned as never))[0]!);
    }
    expect(scales).toEqual([1024, 1024, 512, 512, 512, 1024]);
    expect(Array.from(w.dataSync())).toEqual([1 - 4, 0]);
    expect(optimizer.iterations).toBe(1);
    tuned.dispose();
  });

  it('leaves no tensor behind', () => {
    const { tuned, loss } = start(fixedLossScale(1024));
    const optimizer = tuned.optimizer(tf.train.sgd(0.5));
    const { numTensors } = tf.memory();
    tf.tidy(() => void tuned.minimize(loss([OVERFLOW, 1]), optimizer));
    expect(tf.memory().numTensors).toBe(numTensors);
    tuned.dispose();
  });
});

it('gradients are unscaled before they are clipped', () => {
  const { w, tuned, loss } = start(fixedLossScale(1024));
  tf.dispose(tuned.minimize(loss([3, 4]), tuned.optimizer(tf.train.sgd(1), { clipNorm: 10 })));
  expect(Array.from(w.dataSync())).toEqual([-2, -3]);
  tuned.dispose();
});

it('the scale and its count come back with the optimizer', async () => {
  const file = memoryFile();
  const first = start(dynamicLossScale({ interval: 3 }));
  const optimizer = first.tuned.optimizer(adamW({ learningRate: 0.1 }));
  for (const c of [OVERFLOW, 1, 1]) tf.dispose(first.tuned.minimize(first.loss([c, 1]), optimizer));
  await first.tuned.save(file, { optimizer });
  const before = await scaleOf(first.tuned as never);
  expect(before).toEqual([2 ** 14, 2]);
  for (const c of [1, OVERFLOW]) tf.dispose(first.tuned.minimize(first.loss([c, 1]), optimizer));
  expect(await scaleOf(first.tuned as never)).not.toEqual(before);
  await first.tuned.load(file, { optimizer });
  expect(await scaleOf(first.tuned as never)).toEqual(before);
  first.tuned.dispose();
});

beforeEach(() => {
  tf.disposeVariables();
});
