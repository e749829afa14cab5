import { finetune, measure, valueAndGrads } from '@leantune/core';
import '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { evalMode, tuneMode } from '../src/index.ts';
import { type Case, cases, disposeModel, modelOf, seedWeights, twoLayers, variablesOf } from './models.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const random = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
const because = 'the same product in another order, in float32';

describe.each(Object.entries(cases))('%s', (_, each: Case) => {
  test('gives z, dx, dw, db, dγ and dβ of the two layers', () => {
    const model = modelOf(each);
    const x = tf.variable(random([3, ...each.inputShape], 50));
    const dz = tf.tidy(() => random(twoLayers(model, x).shape, 51));
    const variables = [x, ...variablesOf(model)];
    const expected = tf.tidy(() => twoLayers(model, x));
    const reference = tf.variableGrads(() => tf.sum(tf.mul(twoLayers(model, x), dz)) as tf.Scalar, variables);
    const tuned = finetune(model, tuneMode());
    const received = tf.tidy(() => model.apply(x, { training: true }) as tf.Tensor);
    expect(received).toBeClose(expected, { rel: 1e-5, because });
    const loss = () => tf.sum(tf.mul(model.apply(x, { training: true }) as tf.Tensor, dz)) as tf.Scalar;
    const ours = valueAndGrads(loss, variables);
    for (const v of variables) expect(ours.grads[v.name]!, v.name).toBeClose(reference.grads[v.name]!, { rel: 1e-5, because });
    const own = tuned.valueAndGrads(loss);
    for (const v of variablesOf(model)) expect(own.grads[v.name]!, v.name).toBeBitEqual(ours.grads[v.name]!);
    tuned.dispose();
    disposeModel(model);
    tf.dispose([x, dz, expected, received, reference, ours, own]);
  });

  test('predicts as before', () => {
    const model = modelOf(each);
    const x = random([3, ...each.inputShape], 50);
    const expected = tf.tidy(() => twoLayers(model, x));
    const tuned = finetune(model, tuneMode());
    const received = tf.tidy(() => model.predict(x) as tf.Tensor);
    expect(received).toBeClose(expected, { rel: 1e-5, because });
    tuned.dispose();
    disposeModel(model);
    tf.dispose([x, expected, received]);
  });

  test('is one convolution: every pair is fused', () => {
    const model = modelOf(each);
    const tuned = finetune(model, tuneMode());
    const x = random([3, ...each.inputShape], 50);
    const kernels = tf.profile(() => model.apply(x, { training: true }) as tf.Tensor);
    return kernels.then(({ kernelNames, result }) => {
      expect(kernelNames).not.toContain('FusedBatchNorm');
      tuned.dispose();
      disposeModel(model);
      tf.dispose([x, result]);
    });
  });
});

test('moving statistics stay as they are, to the bit', () => {
  const model = modelOf(cases['a Conv2D']!);
  const statistics = () => model.weights.filter((w) => !w.trainable || /moving/.test(w.originalName)).map((w) => w.read().clone());
  const before = statistics();
  const tuned = finetune(model, tuneMode());
  const x = random([3, 6, 5, 3], 50);
  const optimizer = tuned.optimizer(tf.train.sgd(0.01));
  for (let i = 0; i < 3; i++)
    tuned.minimize(() => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar, optimizer).dispose();
  tuned.dispose();
  const after = statistics();
  expect(before.length).toBe(2);
  before.forEach((t, i) => expect(after[i]!).toBeBitEqual(t));
  disposeModel(model);
  optimizer.dispose();
  tf.dispose([before, after, x]);
});

/** Two blocks of conv 'same', norm, ReLU on [batch, 6, 6, c]. */
function twoBlocks({ useBias = true, frozen = [] as string[] } = {}) {
  const block = (i: number, options: object = {}) => [
    tf.layers.conv2d({ filters: 8, kernelSize: 3, padding: 'same', useBias, name: `conv_${i}`, ...options }),
    tf.layers.batchNormalization({ name: `bn_${i}` }),
    tf.layers.reLU({ name: `relu_${i}` }),
  ];
  const model = tf.sequential({ layers: [...block(1, { inputShape: [6, 6, 2] }), ...block(2)] });
  seedWeights(model, 3);
  for (const name of frozen) model.getLayer(name).trainable = false;
  return model;
}

const [BATCH, PIXELS, IN, OUT] = [4, 36, 2, 8];
const map = 4 * BATCH * PIXELS; // bytes of one channel of a feature map

/** The most that waits for backward in one step. */
function keptBytes(model: tf.LayersModel, mode: ReturnType<typeof tuneMode>, trainable?: string[]): number {
  const x = random([BATCH, 6, 6, IN], 9);
  const tuned = finetune(model, mode, trainable ? { trainable } : {});
  const { memory } = measure(() =>
    tf.dispose(Object.values(tuned.valueAndGrads(() => tf.sum(model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar))),
  );
  tuned.dispose();
  x.dispose();
  disposeModel(model);
  return memory.keptBytes;
}

describe('what waits for backward', () => {
  // Per pair k and 1/√(σ²+ε) for dw and dγ, and μ − b for dγ where there is a bias.
  const vectors = (bias: boolean) => 2 * 4 * OUT * (bias ? 3 : 2);

  test.each([true, false])('is x of each pair and what ReLU reads, and vectors of channels (bias: %s)', (useBias) => {
    const maps = map * (OUT + OUT); // the output of either ReLU; the images are there anyway
    expect(keptBytes(twoBlocks({ useBias }), tuneMode())).toBe(maps + vectors(useBias));
  });

  test('is without the output of each convolution, which Eval mode keeps', () => {
    expect(keptBytes(twoBlocks(), evalMode())).toBe(map * (OUT + OUT) + map * (OUT + OUT));
  });

  test('has no x and no filter where w and γ are frozen', () => {
    expect(keptBytes(twoBlocks(), tuneMode(), ['bn_1/beta', 'bn_2/beta'])).toBe(map * (OUT + OUT));
  });

  test('has nothing before the first pair that trains', () => {
    expect(keptBytes(twoBlocks({ frozen: ['conv_1', 'bn_1'] }), tuneMode())).toBe(map * (OUT + OUT) + vectors(true) / 2);
  });
});

test('frozen filters get no gradient computed', async () => {
  const model = twoBlocks();
  const x = random([BATCH, 6, 6, IN], 9);
  const tuned = finetune(model, tuneMode(), { trainable: ['bn_1/beta', 'bn_2/beta'] });
  const { kernelNames } = await tf.profile(
    () =>
      tf.dispose(Object.values(tuned.valueAndGrads(() => tf.sum(model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar))) as never,
  );
  expect(kernelNames).toContain('Conv2DBackpropInput');
  expect(kernelNames).not.toContain('Conv2DBackpropFilter');
  tuned.dispose();
  disposeModel(model);
  x.dispose();
});

test('checkpoint: true gives the same gradients, to the bit', () => {
  const model = twoBlocks();
  const x = random([BATCH, 6, 6, IN], 9);
  const gradientsWith = (checkpoint: boolean) => {
    const tuned = finetune(model, tuneMode(), { checkpoint });
    const { value, grads } = tuned.valueAndGrads(() => tf.sum(model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar);
    tuned.dispose();
    value.dispose();
    return grads;
  };
  const [plain, recomputed] = [gradientsWith(false), gradientsWith(true)];
  for (const name in plain) expect(recomputed[name]!).toBeBitEqual(plain[name]!);
  disposeModel(model);
  tf.dispose([x, plain, recomputed]);
});

test('targets choose among the batch norms; the others follow the training argument', () => {
  const model = twoBlocks();
  const mean = () => (model.getLayer('bn_1') as unknown as { movingMean: { read(): tf.Tensor } }).movingMean.read().clone();
  const before = mean();
  const tuned = finetune(model, tuneMode({ targets: 'bn_2' }));
  const x = random([BATCH, 6, 6, IN], 9);
  tf.dispose(model.apply(x, { training: true }) as tf.Tensor);
  const after = mean();
  expect(after).not.toBeBitEqual(before);
  tuned.dispose();
  disposeModel(model);
  tf.dispose([x, before, after]);
});

test('an adapter that another technique puts beside a convolution is scaled by the norm', () => {
  const model = twoBlocks();
  const x = random([BATCH, 6, 6, IN], 9);
  const beside = {
    name: 'beside',
    options: null,
    attach: (view: Parameters<ReturnType<typeof tuneMode>['attach']>[0]) => {
      const undos = view.sites('conv_2').map((site) => site.replace((h, next) => tf.add(next(h), 1)));
      return { detach: () => undos.forEach((undo) => undo()) };
    },
  };
  const outputs = [
    [beside, evalMode()],
    [beside, tuneMode()],
    [tuneMode(), beside],
  ].map((techniques) => {
    const tuned = finetune(model, techniques);
    const y = tf.tidy(() => model.predict(x) as tf.Tensor);
    tuned.dispose();
    return y;
  });
  for (const y of outputs) expect(y).toBeClose(outputs[0]!, { rel: 1e-5, because });
  disposeModel(model);
  tf.dispose([x, outputs]);
});
