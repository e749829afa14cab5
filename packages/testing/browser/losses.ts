/** One loss per family of kernels that training uses, on seeded values; compared between backends. */
import * as tf from '@tensorflow/tfjs-core';

export interface Problem {
  readonly variables: { readonly [name: string]: tf.Variable };
  readonly loss: () => tf.Scalar;
}

let seed = 0;
const variable = (...shape: number[]): tf.Variable => tf.tidy(() => tf.variable(tf.randomNormal(shape, 0, 1, 'float32', ++seed)));
/** Weighted by numbers made here: a GPU's own sine is good for four digits. */
const total = (y: tf.Tensor): tf.Scalar =>
  tf.sum(
    tf.mul(
      y,
      tf.tensor(
        Float32Array.from({ length: y.size }, (_, i) => Math.sin(i + 1)),
        y.shape,
      ),
    ),
  ) as tf.Scalar;

function problem(shapes: { readonly [name: string]: number[] }, f: (v: { [name: string]: tf.Variable }) => tf.Tensor): () => Problem {
  return () => {
    seed = 0;
    const variables = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, variable(...shape)]));
    return { variables, loss: () => tf.tidy(() => total(f(variables))) };
  };
}

const image = [2, 7, 6, 3];

export const losses: { readonly [name: string]: () => Problem } = {
  matMul: problem({ a: [5, 7], b: [7, 3] }, ({ a, b }) => tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D)),
  'matMul, both transposed': problem({ a: [2, 7, 5], b: [2, 3, 7] }, ({ a, b }) => tf.matMul(a!, b!, true, true)),
  dense: problem({ x: [6, 5], w: [5, 4], b: [4] }, ({ x, w, b }) =>
    tf.fused.matMul({ a: x as tf.Tensor2D, b: w as tf.Tensor2D, bias: b!, activation: 'relu' }),
  ),
  'conv2d same, stride 2': problem({ x: image, w: [3, 3, 3, 5] }, ({ x, w }) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 2, 'same')),
  'conv2d valid': problem({ x: image, w: [3, 2, 3, 5] }, ({ x, w }) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 1, 'valid')),
  'conv2d, padding by numbers': problem({ x: image, w: [3, 3, 3, 2] }, ({ x, w }) => tf.conv2d(x as tf.Tensor4D, w as tf.Tensor4D, 2, 1)),
  conv2dTranspose: problem({ x: [2, 4, 3, 5], w: [3, 3, 2, 5] }, ({ x, w }) =>
    tf.conv2dTranspose(x as tf.Tensor4D, w as tf.Tensor4D, [2, 8, 6, 2], 2, 'same'),
  ),
  depthwise: problem({ x: image, w: [3, 3, 3, 2] }, ({ x, w }) => tf.depthwiseConv2d(x as tf.Tensor4D, w as tf.Tensor4D, 2, 'same')),
  'maxPool same': problem({ x: image }, ({ x }) => tf.maxPool(x as tf.Tensor4D, 3, 2, 'same')),
  'avgPool valid': problem({ x: image }, ({ x }) => tf.avgPool(x as tf.Tensor4D, 2, 2, 'valid')),
  'avgPool same': problem({ x: image }, ({ x }) => tf.avgPool(x as tf.Tensor4D, 3, 2, 'same')),
  'avgPool, padding by numbers': problem({ x: image }, ({ x }) => tf.avgPool(x as tf.Tensor4D, 3, 2, 1)),
  'avgPool3d same': problem({ x: [1, 3, 4, 5, 2] }, ({ x }) => tf.avgPool3d(x as tf.Tensor5D, 3, 2, 'same')),
  batchNorm: problem({ x: image, mean: [3], scale: [3], offset: [3] }, ({ x, mean, scale, offset }) =>
    tf.batchNorm(x as tf.Tensor4D, mean as tf.Tensor1D, tf.tensor1d([0.5, 1, 2]), offset as tf.Tensor1D, scale as tf.Tensor1D, 1e-3),
  ),
  layerNorm: problem({ x: [4, 9], scale: [9], offset: [9] }, ({ x, scale, offset }) => {
    const { mean, variance } = tf.moments(x!, -1, true);
    return tf.add(tf.mul(tf.mul(tf.sub(x!, mean), tf.rsqrt(tf.add(variance, 1e-5))), scale!), offset!);
  }),
  attention: problem({ q: [2, 5, 4], k: [2, 5, 4], v: [2, 5, 4] }, ({ q, k, v }) =>
    tf.matMul(tf.softmax(tf.mul(tf.matMul(q!, k!, false, true), 0.5)), v!),
  ),
  'softmax cross entropy': problem({ x: [6, 5] }, ({ x }) =>
    tf.losses.softmaxCrossEntropy(tf.oneHot(tf.tensor1d([0, 1, 2, 3, 4, 0], 'int32'), 5), x!),
  ),
  'gather, an index twice': problem({ table: [7, 4] }, ({ table }) => tf.gather(table!, tf.tensor1d([1, 3, 3, 6, 1, 3], 'int32'))),
  activations: problem({ x: [4, 9] }, ({ x }) =>
    tf.concat([tf.elu(x!), tf.selu(x!), tf.sigmoid(x!), tf.tanh(x!), tf.softplus(x!), tf.leakyRelu(x!), tf.relu6(x!), tf.erf(x!)], 1),
  ),
  'a bias broadcast over images': problem({ x: image, b: [3] }, ({ x, b }) => tf.square(tf.add(x!, b!))),
  'slices, padding and concat': problem({ x: [4, 6] }, ({ x }) =>
    tf.concat(
      [
        tf.slice(x!, [1, 2], [2, 3]),
        tf.pad(tf.slice(x!, [0, 0], [1, 2]), [
          [1, 0],
          [0, 1],
        ]),
      ],
      1,
    ),
  ),
  'mean, max and min along an axis': problem({ x: [4, 6] }, ({ x }) => tf.concat([tf.mean(x!, 0), tf.max(x!, 0), tf.min(x!, 1)], 0)),
};
