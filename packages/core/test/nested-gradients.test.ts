/** Gradients of functions that contain gradients. tfjs's own second derivatives are wrong for some ops: finite differences are right. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { FinetuneError, finetune, gradients, valueAndGrads } from '../src/index.ts';
import type { KeepRule } from '../src/technique.ts';

const normal = (shape: number[], seed: number) => tf.randomNormal(shape, 0, 1, 'float32', seed);
type Map1 = (x: tf.Tensor) => tf.Tensor;

/** ‖∇f(x)‖², whose gradient needs the second derivatives of f. */
const norm = (f: Map1) => (x: tf.Tensor) => tf.tidy(() => tf.grad(f)(x).square().sum() as tf.Scalar);

/** Central differences of `f` in every element of `x`. */
function differences(f: (x: tf.Tensor) => tf.Scalar, x: tf.Tensor, h = 1e-2): number[] {
  const flat = x.dataSync();
  const at = (i: number, delta: number) =>
    tf.tidy(
      () =>
        f(
          tf.tensor(
            Float32Array.from(flat, (v, j) => (i === j ? v + delta : v)),
            x.shape,
          ),
        ).dataSync()[0]!,
    );
  return Array.from(flat, (_, i) => (at(i, h) - at(i, -h)) / (2 * h));
}

function near(got: tf.Tensor, expected: readonly number[]): void {
  const scale = Math.max(1, ...expected.map(Math.abs));
  Array.from(got.dataSync()).forEach((v, i) => expect(Math.abs(v - expected[i]!)).toBeLessThan(0.01 * scale));
}

const layerNorm: Map1 = (x) => {
  const { mean, variance } = tf.moments(x, 1, true);
  return x.sub(mean).mul(variance.add(1e-3).rsqrt());
};
const weights = () => tf.range(0, 12).reshape([3, 4]).cos();

const functions: { readonly [name: string]: Map1 } = {
  'layer norm': (x) => layerNorm(x).mul(weights()).sum(),
  moments: (x) => tf.moments(x, 1).variance.square().sum(),
  'a square of differences': (x) => x.sub(x.mean()).square().mul(x).sum(),
  tile: (x) =>
    x
      .tile([4, 1])
      .square()
      .mul(x.tile([4, 1]))
      .sum(),
  broadcastTo: (x) => tf.broadcastTo(x, [5, 3, 4]).mul(0.5).exp().sum(),
  'a product with the transpose': (x) => x.matMul(x.transpose()).square().mean(),
  'the mean of a sum': (x) => x.square().sum(1, true).mul(0.2).exp().mean(),
  softmax: (x) => tf.softmax(x).square().sum(),
  logSoftmax: (x) => tf.logSoftmax(x).square().sum(), // a custom gradient that reads what it returned
  tanh: (x) => x.tanh().mul(x).sum(),
};

/** Holds every value as a copy. */
const copies: KeepRule = () => ({
  name: 'identity',
  encode(x) {
    const copy = tf.keep(x.clone());
    return { bytes: 4 * x.size, decode: () => copy.clone(), dispose: () => copy.dispose() };
  },
});

beforeAll(async () => {
  await tf.setBackend('cpu');
});

test.each(Object.keys(functions))(
  'the gradient of a gradient of %s agrees with finite differences, also through a keep rule, and leaks nothing',
  (name) => {
    const f = norm(functions[name]!);
    const x = normal([3, 4], 3);
    const expected = differences(f, x);
    const before = tf.memory().numTensors;
    const plain = gradients(() => f(x), [x]);
    const kept = gradients(() => f(x), [x], null, false, { keep: [copies] });
    near(plain.grads[0]!, expected);
    expect(kept.grads[0]!.dataSync()).toEqual(plain.grads[0]!.dataSync());
    tf.dispose([plain, kept] as never);
    expect(tf.memory().numTensors).toBe(before);
    x.dispose();
  },
);

test.each<[string, number, (x: tf.Tensor, p: tf.Tensor) => tf.Tensor]>([
  ['the slope of a swish', 1.3, (x, p) => tf.mul(x, tf.sigmoid(tf.mul(p, x)))],
  ['the factor of a GELU', 0.5, (x, p) => tf.mul(tf.mul(x, p), tf.add(1, tf.erf(tf.div(x, Math.SQRT2))))],
  ['the ε of an RMS norm', 0.3, (x, p) => tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), p)))],
])('%s trains by a gradient with respect to x, for which it is a constant', (_, value, f) => {
  const [x, number, start] = [normal([3, 4], 3), tf.variable(tf.scalar(value)), tf.scalar(value)];
  const before = tf.memory().numTensors;
  const penalty = (p: tf.Tensor) => norm((z) => tf.tidy(() => f(z, p)).mul(weights()))(x);
  const { value: result, grads } = valueAndGrads(() => penalty(number), [number]);
  near(grads[number.name]!, differences(penalty, start));
  tf.dispose([result, grads] as never);
  expect(tf.memory().numTensors).toBe(before);
  tf.dispose([x, number, start]);
});

test('a gradient penalty trains a model with layer normalization', () => {
  const model = tf.sequential({
    layers: [
      tf.layers.dense({ units: 5, inputShape: [4], kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }), activation: 'tanh' }),
      tf.layers.layerNormalization(),
      tf.layers.dense({ units: 1, kernelInitializer: tf.initializers.glorotUniform({ seed: 2 }) }),
    ],
  });
  const x = normal([6, 4], 1);
  const penalty = () =>
    tf.tidy(
      () =>
        tf
          .grad((z) => (model.apply(z, { training: true }) as tf.Tensor).sum())(x)
          .norm('euclidean', 1)
          .sub(1)
          .square()
          .mean() as tf.Scalar,
    );
  const tuned = finetune(model);
  const { value, grads } = tuned.valueAndGrads(penalty);
  const kernel = tuned.variables[0]!;
  const own = kernel.clone();
  near(
    grads[kernel.name]!,
    differences((z) => {
      kernel.assign(z as never);
      const result = penalty();
      kernel.assign(own);
      return result;
    }, own),
  );
  tuned.dispose();
  tf.dispose([x, own, value, grads] as never);
});

test("inside tfjs's own tf.grad it refuses, as its ops would be missing from tfjs's tape", () => {
  const x = tf.tensor1d([1, 2]);
  const inner = (z: tf.Tensor) => gradients(() => z.square().sum(), [z]).grads[0]!.sum();
  let caught: unknown;
  try {
    tf.grad(inner)(x);
  } catch (error) {
    caught = error;
  }
  expect(FinetuneError.is(caught) && caught.code).toBe('busy');
  x.dispose();
});

test('a nested gradient from a dy of another shape is refused', () => {
  const w = tf.variable(normal([3], 1));
  const before = tf.memory().numTensors;
  const dy = tf.ones([4]);
  const f = () => gradients(() => w.square(), [w], dy).grads[0]!.sum() as tf.Scalar;
  expect(() => valueAndGrads(f, [w])).toThrow('The shape of dy must match');
  dy.dispose();
  expect(tf.memory().numTensors).toBe(before);
  w.dispose();
});
