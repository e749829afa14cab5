/**
 * Gradients of y = (x - mean) · r · scale + offset with r = 1 / √(variance + ε), per channel:
 *
 *     dx = dy · r · scale               dmean = -r · scale · Σ dy          dvariance = -r³ / 2 · scale · Σ dy (x - mean)
 *     doffset = Σ dy                                                       dscale = r · Σ dy (x - mean)
 *
 * What has one value a channel is multiplied before it meets dy, so that dx and dmean pass over memory once.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelMap } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { bool, type Operand, type Ops, type, withOps } from './raw.ts';

const T = type(DType.float);

export const batchNormGradients: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  FusedBatchNormGrad: ({ dy, x, mean, variance, scale }, { of, shape, varianceEpsilon }, backend) =>
    withOps(backend, (ops) => {
      const { constant, leave, reshape, run } = ops;
      const scalar = (value: number): Handle => constant(Float32Array.of(value), []);
      const vector = (values: tf.TensorInfo): Operand =>
        values.shape.length === 1 ? values : reshape(values, DType.float, [tf.util.sizeFromShape(values.shape)]);
      const mul = (a: Operand, b: Operand): Handle => run('Mul', { T }, [a, b]);
      const r = run('Rsqrt', { T }, [run('AddV2', { T }, [vector(variance!), scalar(varianceEpsilon)])]);
      const scaled = scale ? mul(r, vector(scale)) : r;
      const centered = () => sumRows(ops, mul(dy!, run('Sub', { T }, [x!, vector(mean!)])), dy!.shape.length);
      const gradients: { readonly [input: string]: () => Handle } = {
        x: () => mul(dy!, scaled),
        mean: () => mul(sumRows(ops, dy!, dy!.shape.length), mul(scaled, scalar(-1))),
        variance: () => mul(centered(), mul(mul(scaled, mul(r, r)), scalar(-0.5))),
        scale: () => mul(centered(), r),
      };
      return leave(reshape(gradients[of as string]!(), DType.float, shape), 'float32');
    }),
};

/** Σ over all axes but the last, [c]. */
function sumRows({ constant, run }: Ops, x: Operand, rank: number): Handle {
  const axes = constant(Int32Array.from({ length: rank - 1 }, (_, i) => i));
  return run('Sum', { T, Tidx: type(DType.int32), keep_dims: bool(false) }, [x, axes]);
}
