/**
 * A BatchNormalization layer's `call`. What differs from tfjs 4.22: one whose weights do not train runs as inference, as in Keras; one
 * without scale or center can be trained; and where the backend has the kernels, a training step is one kernel forward and one
 * backward, where tfjs takes eight ops forward and four gradients. A technique that decides how values wait sees the ops, unless it has a
 * gradient rule for `BatchNormTrain` too.
 *
 * | kernel | inputs | attributes | result |
 * | --- | --- | --- | --- |
 * | `BatchNormTrain` | x; scale, offset where there are; movingMean, movingVariance | varianceEpsilon, momentum | y, mean and variance of the batch, the two moving ones moved |
 * | `BatchNormTrainGrad` | dy, x, mean, variance, scale where there is one | varianceEpsilon | dx, dscale, doffset |
 */
import * as tf from '@tensorflow/tfjs-core';
import { recordedAs } from '../autograd/gradients.ts';
import { offRecord } from '../autograd/held.ts';
import { registerGradientRule } from '../autograd/kernel-rules.ts';
import { type Kwargs, type Layer, type LayerVariable, type Tensors, toList } from './tfjs-layers.ts';

/** tfjs reads gamma and beta in training whether they exist or not; its batch norm takes null for either. */
const absent = { read: () => null } as unknown as LayerVariable;

export function batchNorm(layer: Layer, original: Layer['call'], frozen: boolean): Layer['call'] {
  return (inputs: Tensors, kwargs: Kwargs) => {
    if (frozen) return original.call(layer, inputs, { ...kwargs, training: false });
    const { gamma, beta } = layer;
    if (!kwargs?.['training']) return original.call(layer, inputs, kwargs);
    const fused = trained(layer, toList(inputs)[0]!);
    if (fused) return fused;
    layer.gamma = gamma ?? absent;
    layer.beta = beta ?? absent;
    try {
      return original.call(layer, inputs, kwargs);
    } finally {
      Object.assign(layer, { gamma, beta });
    }
  };
}

/** A training step by one kernel; undefined where the backend has none, or techniques want to see the ops. */
function trained(layer: Layer, x: tf.Tensor): tf.Tensor | undefined {
  const { gamma, beta, movingMean, movingVariance, axis, epsilon, momentum } = layer;
  const last = axis === -1 || axis === x.rank - 1;
  if (!movingMean || !movingVariance || !last || x.rank < 2 || x.size === 0 || x.dtype !== 'float32') return undefined;
  if (!tf.getKernel('BatchNormTrain', tf.getBackend()) || !recordedAs('BatchNormTrain')) return undefined;
  return tf.tidy(() => {
    const weights = { ...(gamma && { scale: gamma.read() }), ...(beta && { offset: beta.read() }) };
    const inputs = { x, ...weights, movingMean: movingMean.read(), movingVariance: movingVariance.read() };
    const [y, , , mean, variance] = run('BatchNormTrain', inputs, { varianceEpsilon: epsilon, momentum });
    offRecord(() => {
      movingMean.write(mean!);
      movingVariance.write(variance!);
    });
    return y!;
  });
}

registerGradientRule('BatchNormTrain', {
  keep: ({ inputs: { x, scale }, outputs: [, mean, variance] }) => ({ x: x!, mean: mean!, variance: variance!, ...(scale && { scale }) }),
  backward([dy], kept, { attrs, wanted }) {
    const [x, scale, offset] = run('BatchNormTrainGrad', { dy: dy!, ...kept }, attrs as tf.NamedAttrMap);
    const all: { readonly [input: string]: tf.Tensor } = { x: x!, scale: scale!, offset: offset! };
    return Object.fromEntries(wanted.map((input) => [input, all[input]!]));
  },
});

const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): tf.Tensor[] =>
  tf.engine().runKernel(kernel, inputs, attrs) as tf.Tensor[];
