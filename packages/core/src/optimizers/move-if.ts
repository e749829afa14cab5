/**
 * Moves variables only where a condition on the device holds, without reading it: every `assign` of an optimizer, of weights and of its own
 * slots alike, takes `condition ? next : old`. No copy of the state is made: one variable at a time is there twice.
 */
import * as tf from '@tensorflow/tfjs-core';
import { override } from '../override.ts';

let current: tf.Tensor1D | undefined;

/** The condition under which variables move now; kernels that work in place read it. A bool of one element. */
export const condition = (): tf.Tensor1D | undefined => current;

/** Runs `move`, which then changes no variable where `finite` is false. Borrows it; undefined stands for true. */
export function moveIf(finite: tf.Tensor1D | undefined, move: () => void): void {
  if (!finite) {
    move();
    return;
  }
  const { assign } = tf.Variable.prototype;
  const undo = override(tf.Variable.prototype, {
    assign(this: tf.Variable, next: tf.Tensor) {
      tf.tidy(() => assign.call(this, select(finite, next, this)));
    },
  });
  const outer = current;
  current = finite;
  try {
    move();
  } finally {
    current = outer;
    undo();
  }
}

/** Whole tensors, NaN or not. As rows of one matrix: tf.where would first repeat the condition for every element. */
export function select(finite: tf.Tensor1D, yes: tf.Tensor, no: tf.Tensor): tf.Tensor {
  const [t, e] = [yes, no].map((x) => tf.reshape(x, [1, x.size])) as [tf.Tensor2D, tf.Tensor2D];
  return tf.reshape(tf.engine().runKernel('Select', { condition: finite, t, e }) as tf.Tensor2D, no.shape);
}
