import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { FinetuneError, finetune, type Technique } from '../src/index.ts';

const normal = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const values = (tensors: readonly tf.Tensor[]) => tensors.map((t) => Array.from(t.dataSync()));
const scalar = (value: number) => tf.tidy(() => tf.variable(tf.scalar(value)));
const hooked = (step: NonNullable<ReturnType<Technique['attach']>['step']>): Technique => ({
  name: 'hooked',
  options: null,
  attach: () => ({ step, detach: () => {} }),
});

function code(f: () => unknown): unknown {
  try {
    f();
  } catch (error) {
    return FinetuneError.is(error) ? error.code : error;
  }
  return undefined;
}

/** A model whose forward moves statistics, and a batch. */
function normed() {
  const seeded = (seed: number) => tf.initializers.glorotUniform({ seed });
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ units: 5, inputShape: [4], kernelInitializer: seeded(1) }),
      tf.layers.batchNormalization(),
      tf.layers.dense({ units: 3, kernelInitializer: seeded(2) }),
    ],
  });
  const x = normal([6, 4], 1);
  const forward = () => model.apply(x, { training: true }) as tf.Tensor;
  return { model, x, forward, loss: () => forward().square().mean() as tf.Scalar };
}

beforeAll(async () => {
  await tf.setBackend('cpu');
});

describe('minimize refuses', () => {
  test('an optimizer of another tuning, no optimizer, and the name of one', () => {
    const [a, b] = [scalar(1), scalar(2)];
    const [first, second] = [finetune({ a }), finetune({ b })];
    const loss = () => a.square() as tf.Scalar;
    expect(code(() => first.minimize(loss, second.optimizer(tf.train.sgd(0.1))))).toBe('bad-option');
    expect(() => first.minimize(loss, second.optimizer(tf.train.sgd(0.1)))).toThrow('[minimize] got an optimizer of another tuning');
    expect(code(() => first.minimize(loss, undefined as never))).toBe('bad-option');
    expect(code(() => first.optimizer('adam' as never))).toBe('bad-option');
    expect(values([a, b])).toEqual([[1], [2]]);
    first.dispose();
    second.dispose();
    tf.dispose([a, b]);
  });

  test('an async or a bad loss, also under a technique that scales the loss', () => {
    const w = scalar(1);
    const tuned = finetune({ w }, hooked({ scaleLoss: (loss) => loss.mul(2) as tf.Scalar }), { trainable: 'w' });
    const optimizer = tuned.optimizer(tf.train.sgd(0.1));
    const before = tf.memory().numTensors;
    expect(code(() => tuned.minimize((async () => w.square().dispose()) as never, optimizer))).toBe('bad-loss');
    expect(code(() => tuned.minimize((async () => Promise.reject(new Error('mine'))) as never, optimizer))).toBe('bad-loss');
    expect(code(() => tuned.minimize((() => tf.stack([w, w])) as never, optimizer))).toBe('bad-loss');
    expect(tf.memory().numTensors).toBe(before);
    tuned.dispose();
    w.dispose();
  });
});

describe('the loss that a step returns', () => {
  test("belongs to the caller, and is not the user's own tensor: a variable or a kept loss stays", () => {
    const w = scalar(3);
    const tuned = finetune({ w });
    const optimizer = tuned.optimizer(tf.train.sgd(1));
    const loss = tuned.minimize(() => w as never, optimizer);
    expect([loss.dataSync()[0], w.dataSync()[0]]).toEqual([3, 2]);
    loss.dispose();
    let kept: tf.Tensor | undefined;
    const keeping = () => {
      kept = tf.keep(w.square());
      return kept as tf.Scalar;
    };
    tuned.minimize(keeping, optimizer).dispose();
    expect([w.isDisposed, kept!.isDisposed]).toEqual([false, false]);
    tuned.dispose();
    tf.dispose([w, kept!]);
  });

  test("is not disposed if it is a tensor of the user's and the step fails", () => {
    const w = scalar(1);
    const tuned = finetune({ w });
    const optimizer = tuned.optimizer(tf.train.sgd(1));
    const [constant, vector, nan] = [tf.scalar(1), tf.tensor1d([1, 2]), scalar(Number.NaN)];
    for (const bad of [constant, vector, nan])
      expect(code(() => tuned.minimize(() => bad as never, optimizer))).toMatch(/not-reached|bad-loss/);
    expect([w, constant, vector, nan].map((t) => t.isDisposed)).toEqual([false, false, false, false]);
    tuned.dispose();
    tf.dispose([w, constant, vector, nan]);
  });
});

describe('a step that fails', () => {
  test('at gradients that are not finite leaves weights, moving statistics and the number of tensors, with clipNorm', () => {
    const { model, x, forward, loss } = normed();
    const tuned = finetune(model);
    const optimizer = tuned.optimizer(tf.train.momentum(0.1, 0.9), { clipNorm: 1 });
    tuned.minimize(loss, optimizer).dispose();
    const before = [values(model.getWeights()), tf.memory().numTensors, tf.memory().numBytes];
    const infinite = () => forward().mul(0).abs().sqrt().sum() as tf.Scalar; // the loss is 0, its slope is not finite
    expect(code(() => tuned.minimize(infinite, optimizer))).toBe('not-finite');
    expect([values(model.getWeights()), tf.memory().numTensors, tf.memory().numBytes]).toEqual(before);
    tuned.dispose();
    x.dispose();
  });

  test('in the inner optimizer leaks neither loss nor gradients and puts moving statistics back', () => {
    const { model, x, loss } = normed();
    const tuned = finetune(model);
    const inner = tf.train.sgd(0.1);
    const apply = inner.applyGradients;
    inner.applyGradients = () => {
      throw new Error('out of memory');
    };
    const before = [values(model.getWeights()), tf.memory().numTensors, tf.memory().numBytes];
    expect(() => tuned.minimize(loss, inner)).toThrow('out of memory');
    expect([values(model.getWeights()), tf.memory().numTensors, tf.memory().numBytes]).toEqual(before);
    inner.applyGradients = apply;
    tuned.minimize(loss, inner).dispose();
    expect(values(model.getWeights())).not.toEqual(before[0]);
    tuned.dispose();
    x.dispose();
  });
});

describe('accumulated gradients', () => {
  test.each(['the optimizer', 'the tuning'] as const)('that made no step yet are freed with %s', (owner) => {
    const w = scalar(1);
    const tuned = finetune({ w });
    const inner = tf.train.sgd(1);
    const before = tf.memory().numTensors - 1; // the rate of sgd is a tensor
    const optimizer = tuned.optimizer(inner, { accumulate: 3 });
    for (let i = 0; i < 2; i++) tuned.minimize(() => w.square() as tf.Scalar, optimizer).dispose();
    expect(tf.memory().numTensors).toBe(before + 2);
    if (owner === 'the optimizer') optimizer.dispose();
    tuned.dispose();
    inner.dispose();
    expect(tf.memory().numTensors).toBe(before);
    w.dispose();
  });

  test('are without a batch whose loss was refused', () => {
    const w = scalar(0);
    const tuned = finetune({ w });
    const optimizer = tuned.optimizer(tf.train.sgd(1), { accumulate: 2 });
    const slope = (k: number) => () => w.mul(k) as tf.Scalar;
    tuned.minimize(slope(4), optimizer).dispose();
    expect(code(() => tuned.minimize(slope(Number.NaN), optimizer))).toBe('not-finite');
    tuned.minimize(slope(2), optimizer).dispose();
    expect(w.dataSync()[0]).toBe(-3);
    tuned.dispose();
    w.dispose();
  });
});

test('a schedule goes on where the restored optimizer was', async () => {
  const w = scalar(1);
  const tuned = finetune({ w });
  let saved: tf.io.ModelArtifacts;
  const file: tf.io.IOHandler = {
    save: async (artifacts) => {
      saved = artifacts;
      return { modelArtifactsInfo: { dateSaved: new Date(0), modelTopologyType: 'JSON' } };
    },
    load: async () => saved,
  };
  const seen: number[] = [];
  const make = () => tuned.optimizer(tf.train.adam(0.1), { schedule: (step) => seen.push(step) && 0.01 });
  const first = make();
  const loss = () => w.square() as tf.Scalar;
  for (let i = 0; i < 3; i++) tuned.minimize(loss, first).dispose();
  await tuned.save(file, { optimizer: first });
  const second = make();
  await tuned.load(file, { optimizer: second });
  tuned.minimize(loss, second).dispose();
  expect(seen).toEqual([0, 1, 2, 3]);
  expect(second.iterations).toBe(4);
  tuned.dispose();
  w.dispose();
});

test('a hook that throws after the weights have moved leaves the statistics that moved with them, and no tensor', () => {
  const { model, loss, x } = normed();
  const tuned = finetune(
    model,
    hooked({
      afterStep: () => {
        throw new Error('after');
      },
    }),
  );
  const statistics = () =>
    model.layers[1]!.getWeights()
      .slice(2)
      .map((w) => Array.from(w.dataSync()));
  const weights = () => Array.from(model.layers[0]!.getWeights()[0]!.dataSync());
  const optimizer = tf.train.sgd(0.1);
  const before = { statistics: statistics(), weights: weights(), tensors: tf.memory().numTensors };
  expect(() => tuned.minimize(loss, optimizer)).toThrow('after');
  expect(weights()).not.toEqual(before.weights);
  expect(statistics()).not.toEqual(before.statistics);
  expect(tf.memory().numTensors).toBe(before.tensors);
  tuned.dispose();
  x.dispose();
});
