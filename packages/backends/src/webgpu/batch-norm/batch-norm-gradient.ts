/**
 * Gradients of y = (x - mean) · r · scale + offset with r = 1 / sqrt(variance + ε), per channel:
 *
 *     dx = dy · r · scale               dmean = -r · scale · Σ dy          dvariance = -r³ / 2 · scale · Σ dy (x - mean)
 *     doffset = Σ dy                                                       dscale = r · Σ dy (x - mean)
 *
 * One kernel, `FusedBatchNormGrad`, with the attribute `of` naming the input; core's gradient rules use it where it is registered.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type WebGPUBackend, type WebGPUKernel } from '../backend.ts';
import { elementwise } from '../elements/elementwise.ts';
import { sumColumns } from '../rows/sum-columns.ts';

const rsqrt = 'inverseSqrt(variance[column] + u.epsilon)';

const gradient: WebGPUKernel = (inputs, attrs, backend) => {
  const dy = input(inputs, 'dy');
  const { of, varianceEpsilon: epsilon } = attrs;
  if (of === 'x') return inputGradient(backend, dy, inputs, epsilon);
  const { x, mean, variance, scale } = inputs;
  const columns = dy.shape.at(-1)!;
  const shape = attrs['shape'] as number[];
  const finish = {
    mean: `-sum * ${rsqrt}${scale ? ' * scale[column]' : ''}`,
    variance: `-0.5 * sum * ${rsqrt} / (variance[column] + u.epsilon)${scale ? ' * scale[column]' : ''}`,
    scale: `sum * ${rsqrt}`,
  }[of as 'mean' | 'variance' | 'scale'];
  const term = of === 'mean' ? 'x[at]' : 'x[at] * (input[at] - mean[column])';
  const beside = Object.fromEntries(
    Object.entries({ input: x, mean, variance, scale }).filter(([, tensor]) => tensor),
  ) as tf.NamedTensorInfoMap;
  return sumColumns(backend, dy, {
    outer: 1,
    rows: tf.util.sizeFromShape(dy.shape) / columns,
    shape,
    term,
    finish,
    beside,
    epsilon,
  } as never);
};

function inputGradient(
  backend: WebGPUBackend,
  dy: tf.TensorInfo,
  { variance, scale }: tf.NamedTensorInfoMap,
  epsilon: number,
): tf.TensorInfo {
  return elementwise(backend, {
    key: 'batchNormInputGradient',
    inputs: { dy, variance: variance!, ...(scale && { scale }) },
    shape: dy.shape,
    value: `dy * inverseSqrt(variance + u.epsilon)${scale ? ' * scale' : ''}`,
    uniforms: { epsilon: ['f32', epsilon] },
  });
}

export const batchNormGradients: Kernels = { FusedBatchNormGrad: gradient };
