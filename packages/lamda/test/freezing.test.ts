/** Frozen rows are frozen: under momentum and weight decay, in files, and in what optimizers hold. */
import { adamW, finetune, restore } from '@leantune/core';
import { safetensorsFiles } from '@leantune/core/safetensors';
import { memoryFile } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { frozenRows, lamda, updatesOf } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const RANK = 4;
const schedule = { steps: 20, freezeFraction: 0.5 };

function subject(seed = 1) {
  const kernelInitializer = (i: number) => tf.initializers.glorotUniform({ seed: seed + i });
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ inputShape: [6], units: 8, activation: 'tanh', name: 'hidden', kernelInitializer: kernelInitializer(1) }),
      tf.layers.dense({ units: 5, name: 'head', kernelInitializer: kernelInitializer(2) }),
    ],
  });
  const x = tf.randomNormal([16, 6], 0, 1, 'float32', seed + 3);
  const y = tf.randomNormal([16, 5], 0, 1, 'float32', seed + 4);
  const loss = () => tf.losses.meanSquaredError(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar;
  return { model, loss };
}

const optimizers: { readonly [name: string]: () => tf.Optimizer } = {
  adamW: () => adamW({ learningRate: 0.05, weightDecay: 0.1 }),
  adam: () => tf.train.adam(0.05),
  momentum: () => tf.train.momentum(0.05, 0.9),
  rmsprop: () => tf.train.rmsprop(0.01, 0.9, 0.5),
};

async function fileOf(tuned: { save(to: tf.io.IOHandler): Promise<unknown> }): Promise<tf.NamedTensorMap> {
  const file = memoryFile();
  await tuned.save(file);
  return tf.io.decodeWeights(file.artifacts!.weightData as ArrayBuffer, file.artifacts!.weightSpecs!);
}

describe('the schedule', () => {
  test('freezes floor(r i / (η steps)) rows, all of them at η steps', () => {
    const rows = Array.from({ length: 13 }, (_, i) => frozenRows(i, RANK, schedule));
    expect(rows).toEqual([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4]);
    expect(frozenRows(0, 8, { freezeFraction: 0 })).toBe(8);
  });

  test('moves r² + η (r + 1) d / 2 numbers a step, on average over a long run', () => {
    const [rank, dOut, steps] = [32, 384, 10_000];
    const mean = updatesOf(rank, dOut, steps, { steps, freezeFraction: 0.3 }) / steps;
    expect(mean).toBeCloseTo(rank * rank + 0.15 * (rank + 1) * dOut, -0.5);
  });
});

describe.each(Object.entries(optimizers))('with %s', (_, make) => {
  test('frozen rows are bit-identical to what they were, and the variable, its gradient and its slots get shorter', async () => {
    const { model, loss } = subject();
    const tuned = finetune(model, lamda({ rank: RANK, ...schedule }));
    const optimizer = tuned.optimizer(make());
    let previous: Float32Array | undefined;
    const seen: number[] = [];
    for (let step = 1; step <= 14; step++) {
      tuned.minimize(loss, optimizer).dispose();
      const frozen = frozenRows(step, RANK, schedule);
      const b = tuned.variables.find((v) => v.name.startsWith('head/B'));
      expect(b?.shape ?? [0, 5]).toEqual([RANK - frozen, 5]);
      const { value, grads } = tuned.valueAndGrads(loss);
      expect(Object.entries(grads).map(([name, g]) => [name, g.shape])).toEqual(tuned.variables.map((v) => [v.name, v.shape]));
      tf.dispose([value, grads]);
      const file = await fileOf(tuned);
      const rows = file['lamda:head/B']!.dataSync() as Float32Array;
      if (previous) {
        const before = 5 * frozenRows(step - 1, RANK, schedule);
        expect(rows.slice(0, before)).toEqual(previous.slice(0, before));
        if (before < rows.length) expect(rows.slice(before)).not.toEqual(previous.slice(before));
      }
      previous = rows;
      tf.dispose(file);
      seen.push(frozen);
    }
    expect(new Set(seen)).toEqual(new Set([0, 1, 2, 3, 4]));
    const slots = (await optimizer.getWeights()).slice(1).map(({ tensor }) => tensor.shape);
    expect(slots.every((shape) => shape.join() === `${RANK},${RANK}`)).toBe(true); // of S alone
    tuned.dispose();
  });

  test('a run that is saved amid the schedule and goes on elsewhere equals one that was not, bit for bit', async () => {
    const whole = subject();
    const straight = finetune(whole.model, lamda({ rank: RANK, ...schedule }));
    const first = straight.optimizer(make());
    const file = memoryFile();
    const losses: number[] = [];
    const step = (tuned: typeof straight, loss: () => tf.Scalar, optimizer: tf.Optimizer) => {
      const value = tuned.minimize(loss, optimizer);
      const number = value.dataSync()[0]!;
      value.dispose();
      return number;
    };
    for (let i = 1; i <= 16; i++) {
      losses.push(step(straight, whole.loss, first));
      if (i === 6) await straight.save(file, { optimizer: first });
    }
    const other = subject();
    const resumed = finetune(other.model, lamda({ rank: RANK, ...schedule }));
    const second = resumed.optimizer(make());
    await resumed.load(file, { optimizer: second });
    expect(resumed.variables.find((v) => v.name.startsWith('head/B'))!.shape).toEqual([RANK - 2, 5]);
    const again = Array.from({ length: 10 }, () => step(resumed, other.loss, second));
    expect(again).toEqual(losses.slice(6));
    const [a, b] = [await fileOf(straight), await fileOf(resumed)];
    for (const name in a) expect(b[name], name).toBeBitEqual(a[name]!);
    straight.dispose();
    resumed.dispose();
  });
});

test('an adapter of which some rows are frozen is restored, merged, and taken back to all rows by an older file', async () => {
  const { model, loss } = subject();
  const tuned = finetune(model, lamda({ rank: RANK, ...schedule }));
  const [young, old] = [memoryFile(), memoryFile()];
  await tuned.save(young);
  const optimizer = tuned.optimizer(tf.train.adam(0.05));
  for (let i = 0; i < 7; i++) tuned.minimize(loss, optimizer).dispose();
  await tuned.save(old);
  const trained = loss().dataSync()[0]!;
  const copy = subject();
  const restored = await restore(copy.model, old, { lamda });
  expect(copy.loss().dataSync()[0]).toBe(trained);
  await restored.load(young);
  expect(restored.variables.find((v) => v.name.startsWith('head/B'))!.shape).toEqual([RANK, 5]);
  await restored.load(old);
  restored.merge();
  expect(copy.loss().dataSync()[0]).toBeCloseTo(trained, 5);
  tuned.dispose();
});

test.each(['zero', 'principal', 'lora-xs'] as const)(
  "an adapter that began as '%s' is restored without an SVD, from safetensors too",
  async (init) => {
    const { model, loss } = subject();
    const tuned = finetune(model, lamda({ rank: RANK, ...schedule, init }));
    const optimizer = tuned.optimizer(tf.train.adam(0.05));
    for (let i = 0; i < 4; i++) tuned.minimize(loss, optimizer).dispose();
    const file = safetensorsFiles();
    await tuned.save(file);
    const copy = subject();
    const weights = copy.model.getWeights().map((w) => w.clone());
    copy.model.setWeights(weights.map((w) => tf.fill(w.shape, Number.NaN))); // of which there is no SVD
    await restore(copy.model, file, { lamda });
    copy.model.setWeights(weights);
    expect(copy.loss().dataSync()).toEqual(loss().dataSync());
  },
);

// tfjs's momentum leaves its rate behind when it is disposed.
test.each(Object.entries(optimizers).filter(([name]) => name !== 'momentum'))('freezing leaks nothing with %s', (_, make) => {
  const { model, loss } = subject();
  const run = () => {
    const tuned = finetune(model, lamda({ rank: RANK, ...schedule }));
    const optimizer = tuned.optimizer(make());
    for (let i = 0; i < 12; i++) tuned.minimize(loss, optimizer).dispose();
    optimizer.dispose();
    tuned.dispose();
  };
  expect(run).toLeakNothing();
});
