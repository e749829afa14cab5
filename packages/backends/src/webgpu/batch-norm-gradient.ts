/**
 * Gradients of y = (x - mean) · r · scale + offset with r = 1 / sqrt(variance + ε), per channel:
 *
 *     dx = dy · r · scale               dmean = -r · scale · Σ dy          dvariance = -r³ / 2 · scale · Σ dy (x - mean)
 *     doffset = Σ dy                                                       dscale = r · Σ dy (x - mean)
 *
 * One kernel, `FusedBatchNormGrad`, with the attribute `of` naming the input; core's gradient rules use it where it is registered.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type WebGPUBackend, type WebGPUKernel } from './backend.ts';
import { dispatch } from './dispatch.ts';
import { sumColumns } from './sum-columns.ts';

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

function inputGradient(backend: WebGPUBackend, dy: tf.TensorInfo, inputs: tf.NamedTensorInfoMap, epsilon: number): tf.TensorInfo {
  const columns = dy.shape.at(-1)!;
  const [type, width] = columns % 4 === 0 ? ['vec4f', 4] : ['f32', 1];
  const size = tf.util.sizeFromShape(dy.shape) / width;
  const { variance, scale } = inputs;
  return dispatch(backend, {
    key: 'batchNormInputGradient',
    inputs: { dy: [dy, type], variance: [variance!, type], ...(scale && { scale: [scale, type] as const }) },
    outputs: { dx: [{ shape: dy.shape, dtype: 'float32' }, type] },
    uniforms: { columns: ['u32', columns / width], size: ['u32', size], epsilon: ['f32', epsilon] },
    workgroups: Math.ceil(size / 64),
    code: () => `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * 64 + local;
  if (i >= u.size) { return; }
  let column = i % u.columns;
  dx[i] = dy[i] * ${rsqrt}${scale ? ' * scale[column]' : ''};
}`,
  }).dx;
}

export const batchNormGradients: Kernels = { FusedBatchNormGrad: gradient };
