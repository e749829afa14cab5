/** The kernels of @leantune/backends that write and read codes. Codes are words that no other op may read. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';

type Tensors = { readonly [name: string]: tf.Tensor };

export const run = (kernel: string, inputs: Tensors, attrs: object): tf.Tensor =>
  tf.engine().runKernel(kernel, inputs as tf.NamedTensorMap, attrs as tf.NamedAttrMap);

/** Of several results. */
export const runMany = run as unknown as (
  kernel: string,
  inputs: Tensors,
  attrs: object,
) => readonly [tf.Tensor, tf.Tensor, ...tf.Tensor[]];

/** Of rows along the last axis mean and 1 / √(variance + ε), [2, rows]; not centered, the latter alone, of the mean square. */
export function rowMoments(x: tf.Tensor, epsilon: number, centered: boolean): tf.Tensor {
  if (tf.getKernel('RowMoments', tf.getBackend())) return run('RowMoments', { x }, { epsilon, centered });
  const variance = centered ? tf.moments(x, -1).variance : tf.mean(tf.square(x), -1);
  const rstd = tf.rsqrt(tf.add(variance, epsilon));
  return tf.stack([...(centered ? [tf.mean(x, -1)] : []), rstd].map((of) => tf.reshape(of, [-1])));
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
