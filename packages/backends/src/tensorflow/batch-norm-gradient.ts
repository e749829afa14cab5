/**
 * Gradients of y = (x - mean) · r · scale + offset with r = 1 / √(variance + ε), per channel:
 *
 *     dx = dy · r · scale               dmean = -r · scale · Σ dy          dvariance = -r³ / 2 · scale · Σ dy (x - mean)
 *     doffset = Σ dy                                                       dscale = r · Σ dy (x - mean)
 *
 * What has one value a channel is multiplied before it meets dy, so that dx and dmean pass over memory once; dvariance and dscale,
 * which are asked for one after the other, share their sum.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelMap } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { type Operand, type Ops, type, withOps } from './raw.ts';
import { sumOfProducts, sumRows } from './sum-rows.ts';

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
      const centered = () =>
        sharedSum(backend, ops, [dy!, x!, mean!], () => sumOfProducts(ops, dy!, run('Sub', { T }, [x!, vector(mean!)]), dy!.shape));
      const gradients: { readonly [input: string]: () => Handle } = {
        x: () => mul(dy!, scaled),
        mean: () => mul(sumRows(ops, dy!), mul(scaled, scalar(-1))),
        variance: () => mul(centered(), mul(mul(scaled, mul(r, r)), scalar(-0.5))),
        scale: () => mul(centered(), r),
      };
      return leave(reshape(gradients[of as string]!(), DType.float, shape), 'float32');
    }),
};

/** Σ dy (x - mean) of the last call, [c], and the handles it was of: TensorFlow gives no number twice. */
let last: { readonly of: string; readonly sum: Float32Array } | undefined;

function sharedSum(backend: TensorflowBackend, ops: Ops, inputs: readonly tf.TensorInfo[], make: () => Handle): Handle {
  const of = String(backend.getInputTensorIds(inputs));
  if (last?.of !== of) last = { of, sum: backend.binding.tensorDataSync(make().id) as Float32Array };
  return ops.constant(last!.sum);
}
