/**
 * A BatchNormalization layer's `call`. What differs from tfjs 4.22: one whose weights do not train runs as inference, as in Keras; one
 * without scale or center can be trained; and where the backend has the kernels, a training step is one kernel forward and one
 * backward, where tfjs takes eight ops forward and four gradients; where ReLUs alone read y (`batch-norm-relu.ts`), theirs too. A technique
 * that decides how values wait sees the ops, unless it has a gradient rule for `BatchNormTrain`, or `BatchNormReluTrain`, too.
 *
 * | kernel | inputs | attributes | result |
 * | --- | --- | --- | --- |
 * | `BatchNormTrain` | x; scale, offset where there are; movingMean, movingVariance | varianceEpsilon, momentum | y, mean and variance of the batch, the two moving ones moved |
 * | `BatchNormTrainGrad` | dy, x, mean, variance, scale where there is one | varianceEpsilon | dx, dscale, doffset |
 * | `BatchNormReluTrain` | those of `BatchNormTrain` | and max | as there, y clipped to [0, max] |
 * | `BatchNormReluTrainGrad` | and offset where there is one | and max | as there, for dy where 0 < y ≤ max before it was clipped, else 0 |
 */
import * as tf from '@tensorflow/tfjs-core';
import { recordedAs } from '../autograd/gradients.ts';
import { offRecord } from '../autograd/held.ts';
import { registerGradientRule } from '../autograd/kernel-rules.ts';
import type { GradientRule } from '../technique.ts';
import { markClipped } from './batch-norm-relu.ts';
import { type Kwargs, type Layer, type LayerVariable, type Tensors, toList } from './tfjs-layers.ts';

/** tfjs reads gamma and beta in training whether they exist or not; its batch norm takes null for either. */
const absent = { read: () => null } as unknown as LayerVariable;

/** @returns a `call` that takes what ReLUs behind it clip to, if they alone read y */
export function batchNorm(
  layer: Layer,
  original: Layer['call'],
  frozen: boolean,
): (inputs: Tensors, kwargs: Kwargs, max?: number) => Tensors {
  const own = Object.hasOwn(layer, 'call');
  return (inputs, kwargs, max) => {
    if (frozen) return original.call(layer, inputs, { ...kwargs, training: false });
    const { gamma, beta } = layer;
    if (!kwargs?.['training']) return original.call(layer, inputs, kwargs);
    const fused = own ? undefined : trained(layer, toList(inputs)[0]!, max);
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

/** Whether the backend has a kernel, and techniques do not want to see the ops. */
const runs = (kernel: string): boolean => tf.getKernel(kernel, tf.getBackend()) !== undefined && recordedAs(kernel);

/** A training step by one kernel, if there is one. */
function trained(layer: Layer, x: tf.Tensor, max: number | undefined): tf.Tensor | undefined {
  const { gamma, beta, movingMean, movingVariance, axis, epsilon, momentum } = layer;
  const last = axis === -1 || axis === x.rank - 1;
  if (!movingMean || !movingVariance || !last || x.rank < 2 || x.size === 0 || x.dtype !== 'float32') return undefined;
  const clips = max !== undefined && runs('BatchNormReluTrain');
  if (!clips && !runs('BatchNormTrain')) return undefined;
  return tf.tidy(() => {
    const weights = { ...(gamma && { scale: gamma.read() }), ...(beta && { offset: beta.read() }) };
    const inputs = { x, ...weights, movingMean: movingMean.read(), movingVariance: movingVariance.read() };
    const attrs = { varianceEpsilon: epsilon, momentum };
    const [y, , , mean, variance] = clips ? run('BatchNormReluTrain', inputs, { ...attrs, max }) : run('BatchNormTrain', inputs, attrs);
    offRecord(() => {
      movingMean.write(mean!);
      movingVariance.write(variance!);
    });
    return clips ? markClipped(y!) : y!;
  });
}

/** @param read the weights that the gradient reads */
const rule = (kernel: string, read: (weights: Weights) => Weights): GradientRule => ({
  keep: ({ inputs: { x, scale, offset }, outputs: [, mean, variance] }) => ({
    ...{ x: x!, mean: mean!, variance: variance! },
    ...read({ ...(scale && { scale }), ...(offset && { offset }) }),
  }),
  backward([dy], kept, { attrs, wanted }) {
    const [x, scale, offset] = run(`${kernel}Grad`, { dy: dy!, ...kept }, attrs as tf.NamedAttrMap);
    const all: { readonly [input: string]: tf.Tensor } = { x: x!, scale: scale!, offset: offset! };
    return Object.fromEntries(wanted.map((input) => [input, all[input]!]));
  },
});

type Weights = { readonly [weight: string]: tf.Tensor };

registerGradientRule(
  'BatchNormTrain',
  rule('BatchNormTrain', ({ offset, ...read }) => read),
);
registerGradientRule(
  'BatchNormReluTrain',
  rule('BatchNormReluTrain', (read) => read),
);

const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): tf.Tensor[] =>
  tf.engine().runKernel(kernel, inputs, attrs) as tf.Tensor[];
