/** The shapes of attention: heads beside each other in a row, as matrices of their own, and in groups that share keys. */
import * as tf from '@tensorflow/tfjs-core';

interface Heads {
  readonly heads: number;
  readonly kvHeads: number;
}

/** [n, T, heads · d] -> [n, heads, T, d]. */
export function splitHeads(x: tf.Tensor, heads: number): tf.Tensor {
  const [n, length, width] = x.shape as [number, number, number];
  return tf.transpose(tf.reshape(x, [n, length, heads, width / heads]), [0, 2, 1, 3]);
}

/** [n, heads, T, d] -> [n, T, heads · d]. */
export function mergeHeads(x: tf.Tensor): tf.Tensor {
  const [n, heads, length, d] = x.shape as [number, number, number, number];
  return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [n, length, heads * d]);
}

/** [n, heads, rows, m] -> [n, kvHeads, group · rows, m]: no data moves. */
export function toGroups(x: tf.Tensor, { kvHeads }: Heads): tf.Tensor {
  const [n, heads, rows, m] = x.shape as [number, number, number, number];
  return tf.reshape(x, [n, kvHeads, (heads / kvHeads) * rows, m]);
}

/** [n, kvHeads, group · rows, m] -> [n, heads, rows, m]. */
export function ofGroups(x: tf.Tensor, { heads, kvHeads }: Heads): tf.Tensor {
  const [n, , grouped, m] = x.shape as [number, number, number, number];
  return tf.reshape(x, [n, heads, (grouped * kvHeads) / heads, m]);
}
