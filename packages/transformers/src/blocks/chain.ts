/** Op after op on one value. What lies between goes at once: in a `tidy` all of it, as large as the value, would live to the end. */
import * as tf from '@tensorflow/tfjs-core';

type Op = (value: tf.Tensor) => tf.Tensor;

/** Borrows `x`. */
export function chain(x: tf.Tensor, ...ops: readonly Op[]): tf.Tensor {
  let value = x;
  for (const op of ops) {
    const next = op(value);
    if (value !== x) value.dispose();
    value = next;
  }
  return value;
}

export const times =
  (factor: number | tf.Tensor): Op =>
  (value) =>
    tf.mul(value, factor);
export const plus =
  (term: number | tf.Tensor): Op =>
  (value) =>
    tf.add(value, term);
export const minus =
  (term: tf.Tensor): Op =>
  (value) =>
    tf.sub(value, term);
/** 1 − value */
export const rest = (value: tf.Tensor): tf.Tensor => tf.sub(1, value);
