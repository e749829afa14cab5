/** Zeros and ones of a tensor's shape. tfjs-node reads the tensor for it; a gradient that needs a shape has no more than that. */
import * as tf from '@tensorflow/tfjs-core';
import type { Kernel, KernelMap, StockKernel } from '../kernels.ts';
import type { TensorflowBackend } from './binding.ts';

type TensorflowKernel = Kernel<TensorflowBackend, tf.TensorInfo>;

export const zeros = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> => {
  const fill = stock(tf.Fill);
  const filled =
    (value: number, other: TensorflowKernel): TensorflowKernel =>
    (inputs, attrs, backend) => {
      const { shape, dtype } = inputs['x']!;
      const plain = dtype === 'float32' || dtype === 'int32' || dtype === 'bool';
      return plain ? fill({}, { shape, value, dtype }, backend) : other(inputs, attrs, backend);
    };
  return { [tf.ZerosLike]: filled(0, stock(tf.ZerosLike)), [tf.OnesLike]: filled(1, stock(tf.OnesLike)) };
};
