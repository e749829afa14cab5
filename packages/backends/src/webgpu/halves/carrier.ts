/**
 * Carriers: halves packed two in a word of an int32 tensor [ceil(n / 2)], the first in the lower bits, owned by tfjs's engine, so that
 * `tidy`, `dispose` and `tf.memory()` treat them as any other. What they hold is known by their data, so clones and reshapes hold it too.
 * Kernels of this folder read them; of tfjs's ops those that move no value, for the others send int32 through float32.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { HalfType } from '../../half.ts';

interface Held {
  readonly half: HalfType;
  /** Of the values. */
  readonly shape: readonly number[];
}
const carriers = new WeakMap<object, Held>();

/** Says that `x` holds halves of values of that shape. */
export function carry<T extends tf.TensorInfo>(x: T, held: Held): T {
  carriers.set(x.dataId, held);
  return x;
}

/** The type that `x` holds, where it is a carrier, a handle on one, or a view of one. */
export const halfOf = (x: tf.TensorInfo): HalfType | undefined => carriers.get(x.dataId)?.half;

/** Whether `x` is a carrier, or another handle on one. */
export const isCarrier = (x: tf.TensorInfo): boolean => carriers.has(x.dataId);

/** The shape of the values. */
export const valueShape = (x: tf.TensorInfo): number[] => [...(carriers.get(x.dataId)?.shape ?? x.shape)];
