import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type MemoryReport, measure, trackMemory } from '../src/memory/measure.ts';
import { markState, probes } from '../src/memory/probe.ts';
import { adamW } from '../src/optimizers/adamw.ts';
import type { Kept } from '../src/technique.ts';
import { finetune } from '../src/tuning/finetune.ts';

const FLOAT = 4;
const now = (report: MemoryReport) => {
  const { event: _event, ms: _ms, ...categories } = report.timeline.at(-1)!;
  return categories;
};
const none = { weights: 0, optimizer: 0, kept: 0, gradients: 0, transient: 0 };
const sum = (values: Iterable<number>) => [...values].reduce((a, b) => a + b, 0);
const variable = (shape: number[]) => tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, 1, 'float32', 7)));
/** Also the learning rate, which tfjs's Momentum forgets. */
const disposeAll = (optimizer: tf.Optimizer) => {
  optimizer.dispose();
  if (optimizer instanceof tf.MomentumOptimizer) tf.dispose(Object.values(optimizer));
};
/** The tracker's own side of the probe. */
const probe = () => [...probes][0]!;

let tensors = 0;
beforeEach(async () => {
  await tf.setBackend('cpu');
  tensors = tf.memory().numTensors;
});
afterEach(() => {
  expect(tf.memory().numTensors).toBe(tensors);
  expect(probes.size).toBe(0);
});

describe('weights', () => {
  test('variables count as weights, from before and from within', () => {
    const old = variable([10]);
    const tracker = trackMemory();
    const x = tf.ones([5]);
    const young = tf.variable(x);
    x.dispose();
    expect(tracker.report().peakBytes).toBe(15 * FLOAT);
    expect(now(tracker.report())).toEqual({ ...none, weights: 15 * FLOAT });
    expect(tracker.report().peakAboveWeights).toBe(5 * FLOAT);
    tf.dispose([old, young]);
    expect(now(tracker.report())).toEqual(none);
    tracker.stop();
  });

  test('assign keeps the category; the old buffer leaves it', () => {
    const v = variable([10]);
    const tracker = trackMemory();
    const old = v.reshape([2, 5]);
    tf.tidy(() => v.assign(v.add(1)));
    expect(now(tracker.report())).toEqual({ ...none, weights: 40, transient: 40 });
    old.dispose();
    expect(now(tracker.report())).toEqual({ ...none, weights: 40 });
    v.dispose();
    tracker.stop();
  });

  test('the constants of a GraphModel and named tensors count as weights', () => {
    const constants = { kernel: [tf.ones([3, 3])], bias: [tf.ones([3])] };
    const extra = tf.ones([7]);
    const tracker = trackMemory({ model: { weights: constants }, weights: [extra] });
    extra.clone().dispose();
    expect(tracker.report().atPeak.weights).toBe((9 + 3 + 7) * FLOAT);
    tf.dispose([constants, extra]);
    expect(now(tracker.report())).toEqual(none);
    tracker.stop();
  });
});

describe('optimizers of tfjs', () => {
  const slots: [string, () => tf.Optimizer, number, number][] = [
    // per weight, and scalars that are variables
    ['sgd', () => tf.train.sgd(0.1), 0, 0],
    ['momentum', () => tf.train.momentum(0.1, 0.9), 1, 0],
    ['adagrad', () => tf.train.adagrad(0.1), 1, 0],
    ['adadelta', () => tf.train.adadelta(), 2, 0],
    ['rmsprop', () => tf.train.rmsprop(0.1), 2, 0],
    ['rmsprop, centered', () => tf.train.rmsprop(0.1, 0.9, 0, 1e-8, true), 3, 0],
    ['adam', () => tf.train.adam(), 2, 2],
    ['adamax', () => tf.train.adamax(), 2, 2],
  ];
  for (const [name, make, perWeight, scalars] of slots) {
    test(`${name} holds ${perWeight} values a weight`, () => {
      const w = variable([50]);
      const optimizer = make();
      const step = () => void optimizer.minimize(() => w.square().sum<tf.Scalar>());
      const optimizerBytes = (perWeight * 50 + scalars) * FLOAT;
      const first = measure(() => [step(), step()]);
      expect(now(first.memory)).toEqual({ ...none, weights: 200, optimizer: optimizerBytes });
      // A later tracker knows them from its first event.
      const later = measure(() => tf.ones([1]).dispose());
      expect(later.memory.atPeak).toEqual({ ...none, weights: 200, optimizer: optimizerBytes, transient: FLOAT });
      w.dispose();
      disposeAll(optimizer);
    });
  }

  test('slots made before any tracking are known by option, or from the next step', () => {
    const w = variable([50]);
    const optimizer = tf.train.momentum(0.1, 0.9);
    const step = () => void optimizer.minimize(() => w.square().sum<tf.Scalar>());
    step();
    expect(measure(() => tf.ones([1]).dispose()).memory.atPeak.weights).toBe(400);
    expect(measure(() => tf.ones([1]).dispose(), { optimizer }).memory.atPeak).toEqual({
      ...none,
      weights: 200,
      optimizer: 200,
      transient: 4,
    });
    w.dispose();
    disposeAll(optimizer);
  });

  test('an optimizer of another make says what its state is, to trackers of then and later', () => {
    const make = () => {
      const slot = variable([10]);
      markState([slot]);
      return slot;
    };
    const before = make();
    const tracker = trackMemory();
    const within = make();
    expect(now(tracker.report())).toEqual({ ...none, optimizer: 80 });
    tf.dispose([before, within]);
    tracker.stop();
  });

  test('those of adamW count as optimizer, made before tracking, during, or restored', async () => {
    const [w, u] = [variable([50]), variable([20])];
    const optimizer = adamW();
    const step = (v: tf.Variable) => void optimizer.minimize(() => v.square().sum<tf.Scalar>(), false, [v]);
    step(w);
    const tracker = trackMemory();
    step(u);
    expect(now(tracker.report())).toEqual({ ...none, weights: 280, optimizer: 560 });
    const [iterations, ...slots] = await optimizer.getWeights();
    const copies = slots.map(({ name, tensor }) => ({ name, tensor: tf.clone(tensor) }));
    await optimizer.setWeights([iterations!, ...copies]);
    tf.dispose([iterations!.tensor, copies.map(({ tensor }) => tensor)]);
    expect(now(tracker.report())).toEqual({ ...none, weights: 280, optimizer: 560 });
    tracker.stop();
    tf.dispose([w, u]);
    optimizer.dispose();
  });

  test('of an optimizer inside another are known by option', () => {
    const w = variable([50]);
    const inner = tf.train.momentum(0.1, 0.9);
    const tuned = finetune({ w });
    const optimizer = tuned.optimizer(inner);
    optimizer.minimize(() => w.square().sum<tf.Scalar>());
    const { memory } = measure(() => tf.ones([1]).dispose(), { optimizer });
    expect(memory.atPeak).toEqual({ ...none, weights: 200, optimizer: 200, transient: 4 });
    tuned.dispose();
    w.dispose();
    disposeAll(inner);
  });

  test('are restored', () => {
    const { applyGradients } = tf.AdamOptimizer.prototype;
    const tracker = trackMemory();
    expect(tf.AdamOptimizer.prototype.applyGradients).not.toBe(applyGradients);
    tracker.stop();
    expect(tf.AdamOptimizer.prototype.applyGradients).toBe(applyGradients);
  });
});

describe('gradients of tfjs', () => {
  const B = 32;
  const D = 16;
  const net = () => {
    const [w1, w2] = [variable([D, D]), variable([D, D])];
    return { w1, w2, loss: (x: tf.Tensor) => tf.tanh(tf.tanh(x.matMul(w1)).matMul(w2)).sum<tf.Scalar>() };
  };

  test('the values that stock variableGrads keeps are counted by kernel, weights apart', () => {
    const { w1, w2, loss } = net();
    const { memory } = measure(() => {
      const x = tf.ones([B, D]);
      tf.dispose(tf.variableGrads(() => loss(x)));
      x.dispose();
    });
    // MatMul keeps x, and tanh(x·w1), which Tanh kept already; Tanh keeps its output; Sum keeps what it adds up, the same buffer
    // as the second Tanh's. The weights that MatMul keeps too cost nothing more.
    expect(memory.kept).toEqual([
      { layer: '', kernel: 'Tanh', bytes: 2 * B * D * FLOAT, count: 2 },
      { layer: '', kernel: 'BatchMatMul', bytes: B * D * FLOAT, count: 1 },
    ]);
    expect(memory.keptBytes).toBe(3 * B * D * FLOAT);
    expect(memory.atPeak.weights).toBe(2 * D * D * FLOAT);
    tf.dispose([w1, w2]);
  });

  test('gradients of variables are told from other values as backward makes them', () => {
    const { w1, w2, loss } = net();
    const tracker = trackMemory();
    const x = tf.ones([B, D]);
    const { value, grads } = tf.variableGrads(() => loss(x));
    x.dispose();
    value.dispose();
    expect(now(tracker.report())).toEqual({ ...none, weights: 2 * D * D * FLOAT, gradients: 2 * D * D * FLOAT });
    expect(tracker.report().atPeak.gradients).toBeGreaterThan(0);
    expect(sum(Object.values(tracker.report().atPeak))).toBe(tracker.report().peakBytes);
    tf.dispose([w1, w2]);
    tf.dispose(grads);
    expect(now(tracker.report())).toEqual(none);
    tracker.stop();
  });

  test('a variable used twice has one gradient', () => {
    const w = variable([10]);
    const tracker = trackMemory();
    const { value, grads } = tf.variableGrads(() => w.mul(w).sum<tf.Scalar>());
    value.dispose();
    expect(now(tracker.report())).toEqual({ ...none, weights: 40, gradients: 40 });
    tf.dispose(grads);
    w.dispose();
    tracker.stop();
  });

  test('the five categories sum to the peak at every point of a training run', async () => {
    const model = tf.sequential({
      layers: [
        tf.layers.conv2d({ inputShape: [8, 8, 3], filters: 4, kernelSize: 3, activation: 'relu' }),
        tf.layers.batchNormalization(),
        tf.layers.flatten(),
        tf.layers.dense({ units: 5, activation: 'softmax' }),
      ],
    });
    model.compile({ optimizer: 'adam', loss: 'categoricalCrossentropy', metrics: ['accuracy'] });
    const [x, y] = [tf.randomNormal([8, 8, 8, 3], 0, 1, 'float32', 3), tf.ones([8, 5])];
    const { memory } = await measure(() => model.fit(x, y, { epochs: 2, batchSize: 4, verbose: 0 }), { model });
    expect(sum(Object.values(memory.atPeak))).toBe(memory.peakBytes);
    expect(sum(memory.kept.map((row) => row.bytes))).toBe(memory.keptBytes);
    const points = memory.timeline.map(({ event: _event, ms: _ms, ...categories }) => categories);
    expect(Math.max(...points.map((p) => sum(Object.values(p))))).toBe(memory.peakBytes);
    expect(points).toContainEqual(memory.atPeak);
    for (const point of points) expect(Math.min(...Object.values(point))).toBeGreaterThanOrEqual(0);
    const trainable = sum(model.trainableWeights.map((w) => tf.util.sizeFromShape(w.shape as number[])));
    const weights = sum(model.weights.map((w) => tf.util.sizeFromShape(w.shape as number[])));
    expect(now(memory)).toEqual({ ...none, weights: weights * FLOAT, optimizer: (2 * trainable + 2) * FLOAT });
    tf.dispose([x, y]);
    model.dispose();
    model.optimizer.dispose();
  });
});

describe('a tape tells the tracker', () => {
  test('which buffers wait, for which kernel of which layer', () => {
    const tracker = trackMemory();
    const [a, b] = [tf.ones([10]), tf.ones([20])];
    probe().hold(a.dataId, 40, 'Relu', 'first');
    probe().hold(b.dataId, 80, 'Relu', 'second');
    probe().hold(b.dataId, 80, 'MatMul', 'third');
    expect(now(tracker.report())).toEqual({ ...none, kept: 120 });
    probe().drop(b.dataId);
    expect(now(tracker.report())).toEqual({ ...none, kept: 120 });
    probe().drop(b.dataId);
    probe().drop(b.dataId);
    expect(now(tracker.report())).toEqual({ ...none, kept: 40, transient: 80 });
    a.dispose();
    probe().drop(a.dataId);
    b.dispose();
    tracker.stop();
    expect(tracker.report().kept).toEqual([
      { layer: 'second', kernel: 'Relu', bytes: 80, count: 1 },
      { layer: 'first', kernel: 'Relu', bytes: 40, count: 1 },
    ]);
    expect(tracker.report().keptBytes).toBe(120);
  });

  test('the kept table is of the moment when most waited, not of the end', () => {
    const { memory } = measure(() => {
      for (const [layer, size] of [
        ['small', 5],
        ['large', 20],
        ['later', 10],
      ] as const) {
        const x = tf.ones([size]);
        probe().hold(x.dataId, 0, 'Relu', layer);
        x.dispose();
      }
    });
    expect(memory.kept).toEqual([{ layer: 'large', kernel: 'Relu', bytes: 80, count: 1 }]);
  });

  test('that a kept value is a weight, which keeping does not make dearer', () => {
    const w = variable([10]);
    const { memory } = measure(() => {
      probe().hold(w.dataId, 40, 'MatMul', 'head');
      probe().drop(w.dataId);
      tf.ones([1]).dispose();
    });
    expect(memory.kept).toEqual([]);
    expect(memory.atPeak).toEqual({ ...none, weights: 40, transient: 4 });
    w.dispose();
  });

  test('what an encoder made: tensors by their buffers, plain arrays by what Kept says', () => {
    const encode = (x: tf.Tensor): Kept => {
      const half = tf.tidy(() => tf.keep(x.slice([0], [5]).mul(1)));
      const words = new Uint8Array(7);
      return { bytes: 5 * FLOAT + words.length, decode: () => x.clone(), dispose: () => half.dispose() };
    };
    const tracker = trackMemory();
    const x = tf.ones([10]);
    const kept = probe().encoding(() => encode(x));
    x.dispose();
    expect(now(tracker.report())).toEqual({ ...none, transient: 20 });
    probe().hold(kept, kept.bytes, 'Relu', 'first');
    expect(now(tracker.report())).toEqual({ ...none, kept: 27 });
    probe().drop(kept);
    expect(now(tracker.report())).toEqual({ ...none, transient: 20 });
    kept.dispose();
    expect(now(tracker.report())).toEqual(none);
    tracker.stop();
    expect(tracker.report().kept).toEqual([{ layer: 'first', kernel: 'Relu', bytes: 27, count: 2 }]);
  });

  test('an encoder that keeps a handle on its input adds nothing; one that throws changes nothing', () => {
    const tracker = trackMemory();
    const x = tf.ones([10]);
    const kept = probe().encoding(() => {
      const same = x.reshape([2, 5]);
      return { bytes: 40, decode: () => same.clone(), dispose: () => same.dispose() };
    });
    probe().hold(kept, kept.bytes, 'Relu', '');
    expect(now(tracker.report())).toEqual({ ...none, kept: 40 });
    probe().drop(kept);
    kept.dispose();
    x.dispose();
    expect(() =>
      probe().encoding(() => {
        throw new Error('codec');
      }),
    ).toThrow('codec');
    expect(now(tracker.report())).toEqual(none);
    tracker.stop();
  });

  test('which buffers are gradients, and which tensors an optimizer holds', () => {
    const tracker = trackMemory();
    const [dw, m] = [tf.ones([10]), tf.ones([20])];
    probe().gradient(dw.dataId);
    probe().label([m], 'optimizer');
    expect(now(tracker.report())).toEqual({ ...none, gradients: 40, optimizer: 80 });
    tf.dispose([dw, m]);
    expect(now(tracker.report())).toEqual(none);
    tracker.stop();
  });
});
