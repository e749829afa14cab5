/** The kernels of @leantune/backends that write and read codes. Codes are words that no other op may read. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';

type Tensors = { readonly [name: string]: tf.Tensor };

export const run = (kernel: string, inputs: Tensors, attrs: object): tf.Tensor =>
  tf.engine().runKernel(kernel, inputs as tf.NamedTensorMap, attrs as tf.NamedAttrMap);

/** Of rows along the last axis the mean and 1 / √(variance + ε), [rows] each; not centered, variance is the mean square. */
export function rowMoments(x: tf.Tensor, epsilon: number, centered: boolean): readonly [mean: tf.Tensor, rstd: tf.Tensor] {
  if (tf.getKernel('RowMoments', tf.getBackend()))
    return tf.engine().runKernel('RowMoments', { x }, { epsilon, centered }) as unknown as readonly [tf.Tensor, tf.Tensor];
  const mean = tf.mean(x, -1);
  const variance = centered ? tf.moments(x, -1).variance : tf.mean(tf.square(x), -1);
  return [tf.reshape(mean, [-1]), tf.reshape(tf.rsqrt(tf.add(variance, epsilon)), [-1])];
}

/** @throws FinetuneError `bad-model` if the backend in use has no such kernels */
export function requireKernels(who: string): void {
  const name = tf.getBackend();
  if (tf.getKernel('EncodeSteps', name)) return;
  const advice = `Call useBackend('${name}') of @leantune/backends before, or leave the technique out.`;
  throw new FinetuneError('bad-model', who, `got the backend "${name}", without the kernels that pack values to codes. ${advice}`);
}

/** Bits that one value waits in; 32: as it is. */
export type Bits = 1 | 2 | 4 | 8 | 16 | 32;

/** A place where values wait. */
export interface KeptAt {
  readonly kernel: string;
  readonly layer: string;
  /** Values that wait there. */
  readonly elements: number;
  /** The class of values it belongs to. */
  readonly kind: 'activation' | 'softmax' | 'norm' | 'matmul';
}

/** Decides for every value that waits. */
export type Precision = (at: KeptAt) => Bits;
