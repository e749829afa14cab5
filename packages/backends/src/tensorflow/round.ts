/** Rounding of int32, which changes nothing. TensorFlow 2.21 returns zeros. */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelMap, StockKernel } from '../kernels.ts';
import type { TensorflowBackend } from './binding.ts';

export const rounds = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> => {
  const [round, identity] = [stock(tf.Round), stock(tf.Identity)];
  return { [tf.Round]: (inputs, attrs, backend) => (inputs['x']!.dtype === 'int32' ? identity : round)(inputs, attrs, backend) };
};
