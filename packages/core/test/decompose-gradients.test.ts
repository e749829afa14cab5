/** The SVDs of gradients against the gradient of least squares, which is 2·xᵀ·(x·W − y)/n. */
import { decomposeGradients, truncatedSvd } from '@leantune/core/low-rank';
import { einsumGraph, tinyModels } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

test('are those of the gradient in closed form, and leave the model and its frozen flags alone', () => {
  const layer = tf.layers.dense({
    units: 4,
    name: 'head',
    kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }),
    trainable: false,
  });
  const model = tf.sequential({ layers: [tf.layers.inputLayer({ inputShape: [6] }), layer] });
  const x = tf.randomNormal<tf.Rank.R2>([10, 6], 0, 1, 'float32', 2);
  const y = tf.randomNormal<tf.Rank.R2>([10, 4], 0, 1, 'float32', 3);
  const loss = () => tf.losses.meanSquaredError(y, model.apply(x) as tf.Tensor) as tf.Scalar;
  const weights = layer.getWeights().map((w) => Array.from(w.dataSync()));
  const svd = decomposeGradients(model, loss, { rank: 3 }).get('head')!;
  const wanted = truncatedSvd(
    x
      .transpose()
      .matMul(x.matMul(layer.getWeights()[0]!).sub(y))
      .mul(2 / 40) as tf.Tensor2D,
    3,
  );
  const near = { abs: 1e-6, because: 'float32' };
  expect(tf.tensor1d(Float32Array.from(svd.sigma))).toBeClose(Array.from(wanted.sigma), near);
  const sign = (m: typeof wanted.u) => Array.from(m.data, Math.abs); // a pair of vectors may have its sign the other way
  expect(tf.tensor1d(sign(svd.u))).toBeClose(sign(wanted.u), { abs: 1e-4, because: 'float32' });
  expect(tf.tensor1d(sign(svd.v))).toBeClose(sign(wanted.v), { abs: 1e-4, because: 'float32' });
  expect(layer.getWeights().map((w) => Array.from(w.dataSync()))).toEqual(weights);
  expect(() => decomposeGradients(model, loss, { rank: 3 })).toLeakNothing();
});

test('the gradients of several batches are summed, in the memory of one', () => {
  const layer = tf.layers.dense({ units: 4, name: 'head', inputShape: [6], kernelInitializer: tf.initializers.glorotUniform({ seed: 1 }) });
  const model = tf.sequential({ layers: [layer] });
  const x = tf.randomNormal<tf.Rank.R3>([3, 10, 6], 0, 1, 'float32', 2);
  const loss = (i: number) => tf.sum(tf.square(model.apply(tf.squeeze(tf.slice(x, i, 1), [0])) as tf.Tensor)) as tf.Scalar;
  const together = decomposeGradients(model, () => tf.addN([0, 1, 2].map(loss)) as tf.Scalar, { rank: 3 }).get('head')!;
  const apart = () => decomposeGradients(model, loss, { rank: 3, batches: 3 });
  const { sigma, energy } = apart().get('head')!;
  expect(tf.tensor1d(Float32Array.from(sigma))).toBeClose(Array.from(together.sigma), { rel: 1e-5, because: 'float32' });
  expect(energy / together.energy).toBeCloseTo(1, 5);
  expect(apart).toLeakNothing();
  expect(() => decomposeGradients(model, loss, { rank: 3, batches: 0 })).toThrow('got batches = 0; expected a whole number >= 1');
});

test.each(['layers/conv', 'layers/residual', 'graph/fused', 'function/attention'])(
  'leave no tensor behind, and all weights of %s as they were',
  async (name) => {
    const tiny = await tinyModels[name]!();
    const values = () => Object.entries(tiny.weights()).map(([key, t]) => [key, Array.from(t.dataSync())]);
    const before = values();
    expect(() => decomposeGradients(tiny.model as never, tiny.loss, { rank: 2 })).toLeakNothing();
    expect(values()).toEqual(before);
    tiny.dispose();
  },
);

test('a layer that the loss does not depend on is named, and no tensor is left behind', () => {
  const input = tf.input({ shape: [6] });
  const [a, b] = ['a', 'b'].map((name) => tf.layers.dense({ units: 4, name }).apply(input) as tf.SymbolicTensor);
  const model = tf.model({ inputs: input, outputs: [a!, b!] });
  const x = tf.ones([2, 6]);
  const loss = () => tf.tidy(() => tf.mean((model.apply(x, { training: true }) as tf.Tensor[])[0]!) as tf.Scalar);
  expect(() =>
    expect(() => decomposeGradients(model, loss, { rank: 2, targets: ['a', 'b'] })).toThrow(
      'the loss does not depend on "b". Leave them out.',
    ),
  ).toLeakNothing();
  model.dispose();
  x.dispose();
});

test('a loss that depends on no weight is refused', async () => {
  const tiny = await einsumGraph();
  const x = tf.variable(tf.scalar(1));
  expect(() => decomposeGradients(tiny.model, () => tf.square(x) as tf.Scalar, { rank: 2 })).toThrow('Cannot find a connection');
  tiny.dispose();
});
