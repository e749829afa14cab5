/** Values rounded to half precision, and stored in it, by TensorFlow's own casts. What each kernel computes: `../half.ts`. */
import type * as tf from '@tensorflow/tfjs-core';
import type { HalfType } from '../half.ts';
import type { Attrs, KernelMap } from '../kernels.ts';
import { DType, type TensorflowBackend } from './binding.ts';
import { markCarrier } from './carrier.ts';
import { type Ops, withOps } from './raw.ts';

const typeOf = ({ half }: Attrs): number => (half === ('bfloat16' satisfies HalfType) ? DType.bfloat16 : DType.half);

const narrowed = (ops: Ops, x: tf.TensorInfo, half: number) => ops.cast(x, DType.float, half);

export const halfStorage: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  RoundHalf: ({ x }, attrs, backend) =>
    withOps(backend, (ops) => ops.leave(ops.cast(narrowed(ops, x!, typeOf(attrs)), typeOf(attrs), DType.float), 'float32')),
  EncodeHalf: ({ x }, attrs, backend) =>
    withOps(backend, (ops) => {
      const half = narrowed(ops, x!, typeOf(attrs));
      return markCarrier(ops.leave(ops.bitcast(half, typeOf(attrs), DType.uint8), 'bool')); // [...s, 2]
    }),
  DecodeHalf: ({ codes }, attrs, backend) =>
    withOps(backend, (ops) => {
      const values = ops.cast(ops.bitcast(codes!, DType.uint8, typeOf(attrs)), typeOf(attrs), DType.float);
      return ops.leave(ops.reshape(values, DType.float, attrs['shape']), 'float32');
    }),
};
