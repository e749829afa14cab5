/**
 * Numbers that ops are given, `tf.mul(x, 0.5)`, for patterns that contain them. They are noted as their tensors are made: to read one
 * back from a GPU takes as long as all that is queued there.
 */
import * as tf from '@tensorflow/tfjs-core';

/** By buffer. */
const known = new WeakMap<object, number>();

/** Notes what a tensor of one element is made of. */
export function noteNumber({ dataId, size, dtype }: tf.Tensor, values: ArrayLike<unknown> | undefined): void {
  if (size === 1 && dtype !== 'string' && values) known.set(dataId, Number(values[0]));
}

export const knownNumber = ({ dataId }: tf.Tensor): number | undefined => known.get(dataId);

/** Reads a tensor of one element. @param lasting it is used again: read once, unless it is a variable, which may change */
export function readNumber(t: tf.Tensor, lasting: boolean): number | undefined {
  if (t.isDisposed || t.dtype === 'string') return undefined;
  const value = Number(t.dataSync()[0]);
  if (lasting && !(t instanceof tf.Variable)) known.set(t.dataId, value);
  return value;
}
