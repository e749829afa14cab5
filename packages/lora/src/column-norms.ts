/**
 * The lengths of the columns of W + A·B, without the sum, which is as large as W:
 *
 *   ‖wⱼ + A·bⱼ‖² = ‖wⱼ‖² + 2·(Aᵀ·W)ⱼ·bⱼ + bⱼᵀ·(Aᵀ·A)·bⱼ
 *
 * Three products on r rows, where peft forms A·B by multiplying with the identity.
 */
import * as tf from '@tensorflow/tfjs-core';

/** @param w [dIn, dOut] @param a [dIn, r] @param b [r, dOut] */
export function columnNorms(w: tf.Tensor2D, a: tf.Tensor2D, b: tf.Tensor2D): tf.Tensor1D {
  const squares = (x: tf.Tensor) => tf.sum(tf.square(x), 0);
  const cross = tf.sum(tf.mul(tf.matMul(a, w, true), b), 0);
  const own = tf.sum(tf.mul(b, tf.matMul(tf.matMul(a, a, true), b)), 0);
  return tf.sqrt(tf.relu(tf.add(squares(w), tf.add(tf.mul(cross, 2), own)))) as tf.Tensor1D;
}
