/**
 * Numbers that ops are given, `tf.mul(x, 0.5)`, for patterns that contain them. They are noted as their tensors are made: to read one
 * back from a GPU takes as long as all that is queued there.
 */
import * as tf from '@tensorflow/tfjs-core';

/** By tensor, not by buffer: that of a variable may change where it lies, and another handle on it is made anew. */
const known = new WeakMap<tf.Tensor, number>();

/** Notes what a tensor of one element is made of. */
export function noteNumber(t: tf.Tensor, values: ArrayLike<unknown> | undefined): void {
  if (t.size === 1 && t.dtype !== 'string' && values) known.set(t, Number(values[0]));
}

/** Of a variable never: it may change where it lies. */
export const knownNumber = (t: tf.Tensor): number | undefined => (t instanceof tf.Variable ? undefined : known.get(t));

/** Reads a tensor of one element, while it is there. @param lasting it will be asked for again, and is read once */
export function readNumber(t: tf.Tensor, lasting: boolean): number | undefined {
  if (t.isDisposed || t.dtype === 'string') return undefined;
  const value = Number(t.dataSync()[0]);
  if (lasting) known.set(t, value);
  return value;
}
