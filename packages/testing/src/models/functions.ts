/** Tiny models that are plain functions of named variables. */
import * as tf from '@tensorflow/tfjs';
import { seeded, seededLabels, squaredError, type TinyModel } from './tiny-model.ts';

export type Variables = { [name: string]: tf.Variable };
export type TinyFunction = TinyModel<Variables> & { readonly kind: 'variables' };

const BATCH = 4;
const CLASSES = 3;

/** Two dense layers with GELU, written out. */
export function mlpFunction(seed = 1): TinyFunction {
  const shapes = { 'up/kernel': [6, 8], 'up/bias': [8], 'down/kernel': [8, CLASSES], 'down/bias': [CLASSES] };
  return tiny('mlp', shapes, seeded([BATCH, 6], seed), seed, (v, x) => {
    const up = tf.add(tf.matMul(x as tf.Tensor2D, v['up/kernel'] as tf.Tensor2D), v['up/bias']!);
    const gelu = tf.mul(tf.mul(up, 0.5), tf.add(tf.erf(tf.mul(up, Math.SQRT1_2)), 1));
    return tf.softmax(tf.add(tf.matMul(gelu as tf.Tensor2D, v['down/kernel'] as tf.Tensor2D), v['down/bias']!));
  });
}

/** One head of attention with a residual, a hand-written layer norm and a mean over time. x [BATCH, 5, 6] */
export function attentionFunction(seed = 1): TinyFunction {
  const shapes = {
    'attention/query': [6, 6],
    'attention/key': [6, 6],
    'attention/value': [6, 6],
    'norm/gamma': [6],
    'norm/beta': [6],
    'head/kernel': [6, CLASSES],
  };
  return tiny('attention', shapes, seeded([BATCH, 5, 6], seed), seed, (v, x) => {
    const linear = (h: tf.Tensor, name: string): tf.Tensor =>
      tf.matMul(h.reshape([-1, 6]), v[name] as tf.Tensor2D).reshape([...h.shape.slice(0, -1), -1]);
    const scores = tf.matMul(linear(x, 'attention/query'), linear(x, 'attention/key'), false, true); // [BATCH, 5, 5]
    const mixed = tf.matMul(tf.softmax(tf.div(scores, Math.sqrt(6))), linear(x, 'attention/value')); // [BATCH, 5, 6]
    const h = tf.add(x, mixed);
    const { mean, variance } = tf.moments(h, -1, true);
    const normal = tf.mul(tf.sub(h, mean), tf.rsqrt(tf.add(variance, 1e-5)));
    const scaled = tf.add(tf.mul(normal, v['norm/gamma']!), v['norm/beta']!);
    return tf.softmax(linear(tf.mean(scaled, 1), 'head/kernel'));
  });
}

/** Convolution, batch norm on its own statistics, ReLU, pooling, dense. x [BATCH, 6, 6, 2] */
export function convFunction(seed = 1): TinyFunction {
  const shapes = { 'conv/kernel': [3, 3, 2, 4], 'bn/gamma': [4], 'bn/beta': [4], 'head/kernel': [36, CLASSES] };
  return tiny('conv', shapes, seeded([BATCH, 6, 6, 2], seed), seed, (v, x) => {
    const conv = tf.conv2d(x as tf.Tensor4D, v['conv/kernel'] as tf.Tensor4D, 1, 'same');
    const { mean, variance } = tf.moments(conv, [0, 1, 2]);
    const normal = tf.batchNorm(
      conv,
      mean as tf.Tensor1D,
      variance as tf.Tensor1D,
      v['bn/beta'] as tf.Tensor1D,
      v['bn/gamma'] as tf.Tensor1D,
    );
    const pooled = tf.avgPool(tf.relu(normal), 2, 2, 'valid'); // [BATCH, 3, 3, 4]
    return tf.softmax(tf.matMul(pooled.reshape([BATCH, -1]), v['head/kernel'] as tf.Tensor2D));
  });
}

/** All of them, by the last part of their name. */
export const functionModels: { readonly [name: string]: (seed?: number) => TinyFunction } = {
  mlp: mlpFunction,
  attention: attentionFunction,
  conv: convFunction,
};

function tiny(
  name: string,
  shapes: { [name: string]: number[] },
  input: tf.Tensor,
  seed: number,
  forward: (v: Variables, x: tf.Tensor) => tf.Tensor,
): TinyFunction {
  const model: Variables = {};
  for (const [i, [key, shape]] of Object.entries(shapes).entries()) {
    const fanIn = shape.length > 1 ? tf.util.sizeFromShape(shape.slice(0, -1)) : 4;
    const value = /gamma/.test(key)
      ? tf.randomUniform(shape, 0.5, 1.5, 'float32', seed + 100 + i)
      : seeded(shape, seed + 100 + i, 1 / Math.sqrt(fanIn));
    model[key] = tf.tidy(() => tf.variable(value));
    value.dispose();
  }
  const y = [seededLabels(BATCH, CLASSES, seed + 20)];
  const predict = (): tf.Tensor[] => tf.tidy(() => [forward(model, input)]);
  return {
    name: `function/${name}`,
    kind: 'variables',
    model,
    x: [input],
    y,
    predict,
    loss: () => tf.tidy(() => squaredError(y, predict())),
    variables: () => ({ ...model }),
    weights: () => ({ ...model }),
    dispose: () => tf.dispose([...Object.values(model), input, ...y]),
  };
}
