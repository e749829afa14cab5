import { FinetuneError, finetune } from '@leantune/core';
import { memoryFile } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { beforeAll, describe, expect, test } from 'vitest';
import { deployMode, type FoldOptions, fold, foldWeights, tuneMode } from '../src/index.ts';
import { type Case, cases, disposeModel, modelOf, seedWeights, twoLayers } from './models.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const folded = (model: tf.LayersModel, options?: FoldOptions) =>
  fold(model as unknown as LayersModel, options) as unknown as tf.LayersModel;
const classes = (model: tf.LayersModel): string[] =>
  model.layers.flatMap((layer) => ('layers' in layer ? classes(layer as tf.LayersModel) : layer.getClassName()));
const foldable = Object.entries(cases).filter(([name]) => !name.startsWith('zero padding'));
const because = 'the same product in another order, in float32';

describe.each(foldable)('fold of %s', (_, each: Case) => {
  test('has no batch norm, equal outputs, and is saved and loaded as any model', async () => {
    const model = modelOf(each);
    const x = tf.randomNormal([3, ...each.inputShape], 0, 1, 'float32', 50);
    const expected = tf.tidy(() => twoLayers(model, x));
    const copy = folded(model);
    expect(classes(copy)).not.toContain('BatchNormalization');
    const file = memoryFile();
    await copy.save(file);
    const loaded = await tf.loadLayersModel(file);
    const [received, again] = [copy, loaded].map((m) => m.predict(x) as tf.Tensor);
    expect(received!).toBeClose(expected, { rel: 1e-5, because });
    expect(again!).toBeBitEqual(received!);
    for (const m of [model, copy, loaded]) disposeModel(m);
    tf.dispose([x, expected, received!, again!]);
  });
});

/** A residual block with a shared convolution and a nested model. */
function branched(): tf.LayersModel {
  const conv = (name: string, options: object = {}) =>
    tf.layers.conv2d({ filters: 3, kernelSize: 3, padding: 'same', useBias: false, name, ...options });
  const norm = (name: string) => tf.layers.batchNormalization({ name });
  const inner = tf.sequential({
    name: 'inner',
    layers: [conv('deep', { inputShape: [4, 4, 3] }), norm('deep_bn'), tf.layers.reLU({ name: 'relu' })],
  });
  const input = tf.input({ shape: [4, 4, 3], name: 'image' });
  const [shared, after] = [conv('shared'), norm('shared_bn')];
  const once = after.apply(shared.apply(input)) as tf.SymbolicTensor;
  const twice = after.apply(shared.apply(inner.apply(once) as tf.SymbolicTensor)) as tf.SymbolicTensor;
  const out = tf.layers.add({ name: 'add' }).apply([once, twice]) as tf.SymbolicTensor;
  const model = tf.model({ inputs: input, outputs: out, name: 'branched' });
  seedWeights(model, 13);
  return model;
}

test('branches, nested models and shared layers are copied as they are', () => {
  const model = branched();
  const x = tf.randomNormal([2, 4, 4, 3], 0, 1, 'float32', 14);
  const copy = folded(model);
  expect(classes(copy)).not.toContain('BatchNormalization');
  const [expected, received] = [model, copy].map((m) => m.predict(x) as tf.Tensor);
  expect(received!).toBeClose(expected!, { rel: 1e-5, because });
  expect(copy.countParams()).toBe(model.countParams() - 2 * 4 * 3 + 2 * 3); // two norms of four vectors, against two biases
  for (const m of [model, copy]) disposeModel(m);
  tf.dispose([x, expected!, received!]);
});

test('a model that is being fine-tuned is folded with its weights of now', () => {
  const model = branched();
  const x = tf.randomNormal([2, 4, 4, 3], 0, 1, 'float32', 14);
  const tuned = finetune(model, tuneMode());
  const optimizer = tuned.optimizer(tf.train.sgd(0.01));
  tuned.minimize(() => tf.mean(tf.square(model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar, optimizer).dispose();
  const copy = folded(model);
  const [expected, received] = [model, copy].map((m) => m.predict(x) as tf.Tensor);
  expect(received!).toBeClose(expected!, { rel: 1e-5, because });
  tuned.dispose();
  optimizer.dispose();
  for (const m of [model, copy]) disposeModel(m);
  tf.dispose([x, expected!, received!]);
});

test('what cannot be folded is an error that names each, or stays if asked to', () => {
  const model = tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [4, 4, 2], filters: 3, kernelSize: 2, name: 'conv' }),
      tf.layers.batchNormalization({ name: 'bn_1' }),
      tf.layers.reLU({ name: 'relu' }),
      tf.layers.batchNormalization({ name: 'bn_2' }),
    ],
  });
  seedWeights(model, 15);
  let error: unknown;
  try {
    folded(model);
  } catch (e) {
    error = e;
  }
  expect(FinetuneError.is(error) && error.message).toBe(
    '[fold] 1 batch norms cannot be folded: bn_2 ("relu" (ReLU) comes before it). Leave them in the copy with { partial: true }.',
  );
  const copy = folded(model, { partial: true });
  expect(classes(copy)).toEqual(['Conv2D', 'ReLU', 'BatchNormalization']);
  const x = tf.randomNormal([2, 4, 4, 2], 0, 1, 'float32', 16);
  const [expected, received] = [model, copy].map((m) => m.predict(x) as tf.Tensor);
  expect(received!).toBeClose(expected!, { rel: 1e-5, because });
  for (const m of [model, copy]) disposeModel(m);
  tf.dispose([x, expected!, received!]);
});

test.each(['unitNorm', 'nonNeg'] as const)(
  'a constraint (%s) is for the weights that train, not for what they fold to',
  async (kernelConstraint) => {
    const constrained = tf.layers.dense({ inputShape: [4], units: 3, kernelConstraint, biasConstraint: 'nonNeg', name: 'dense' });
    const model = tf.sequential({ layers: [constrained, tf.layers.batchNormalization({ name: 'bn' })] });
    seedWeights(model, 17);
    const x = tf.randomNormal([2, 4], 0, 1, 'float32', 18);
    const copy = folded(model);
    const file = memoryFile();
    await copy.save(file);
    const loaded = await tf.loadLayersModel(file);
    const [expected, received, again] = [model, copy, loaded].map((m) => m.predict(x) as tf.Tensor);
    expect(received!).toBeClose(expected!, { rel: 1e-5, because });
    expect(again!).toBeBitEqual(received!);
    for (const m of [model, copy, loaded]) disposeModel(m);
    tf.dispose([x, expected!, received!, again!]);
  },
);

test('in Deploy mode the layers lack what was trained, until it is merged', () => {
  const model = branched();
  const x = tf.randomNormal([2, 4, 4, 3], 0, 1, 'float32', 14);
  const tuned = finetune(model, deployMode());
  tf.tidy(() => tuned.variables.forEach((v) => v.assign(tf.add(v, 0.1))));
  expect(() => folded(model)).toThrow(
    '[fold] got a model that trains in Deploy mode, whose layers lack what was trained. Call tuned.merge() first.',
  );
  const expected = tf.tidy(() => model.predict(x) as tf.Tensor);
  tuned.merge();
  const copy = folded(model);
  const received = copy.predict(x) as tf.Tensor;
  expect(received).toBeClose(expected, { rel: 1e-5, because });
  for (const m of [model, copy]) disposeModel(m);
  tf.dispose([x, expected, received]);
});

test('fold says what it takes', () => {
  const dense = tf.sequential({ layers: [tf.layers.dense({ inputShape: [2], units: 2 })] });
  expect(() => folded(dense)).toThrow('[fold] found no batch norm in this model; expected at least one. Use the model as it is.');
  expect(() => folded({} as tf.LayersModel)).toThrow('[fold] got no LayersModel; expected one. A GraphModel is folded by the converter.');
  disposeModel(dense);
});

test('copies leak nothing', () => {
  const model = branched();
  const x = tf.randomNormal([2, 4, 4, 3], 0, 1, 'float32', 14);
  expect(() => {
    const copy = folded(model);
    (copy.predict(x) as tf.Tensor).dispose();
    disposeModel(copy);
  }).toLeakNothing();
  disposeModel(model);
  x.dispose();
});

test('foldWeights is for losses of plain variables', () => {
  const vector = (seed: number) => tf.randomUniform([3], 0.5, 2, 'float32', seed);
  const [mean, variance, gamma, beta, bias] = [1, 2, 3, 4, 5].map(vector) as tf.Tensor1D[];
  const filter = tf.randomNormal([2, 2, 2, 3], 0, 1, 'float32', 6) as tf.Tensor4D;
  const x = tf.randomNormal([1, 4, 4, 2], 0, 1, 'float32', 7) as tf.Tensor4D;
  const expected = tf.tidy(() =>
    tf.batchNorm(tf.add(tf.conv2d(x, filter, 1, 'valid'), bias!) as tf.Tensor4D, mean!, variance!, beta!, gamma!, 1e-3),
  );
  const received = tf.tidy(() => {
    const w = foldWeights({ kernel: filter, bias, gamma, beta, mean: mean!, variance: variance!, epsilon: 1e-3 });
    return tf.add(tf.conv2d(x, w.kernel as tf.Tensor4D, 1, 'valid'), w.bias);
  });
  expect(received).toBeClose(expected, { rel: 1e-5, because });
  tf.dispose([mean, variance, gamma, beta, bias, filter, x, expected, received]);
});
