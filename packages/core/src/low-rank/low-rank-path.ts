/**
 * The narrow way past a frozen weight: x·A is formed by the site's own op (a matmul of any rank, a convolution, a lookup) with A as its
 * kernel, and all that follows works on rows of r numbers. No product of factors is ever formed on the way.
 *
 *   y = W∗x + c·(A∗x)·B        kept for backward by an A that is frozen: A∗x alone, [n, r]; by one that trains: x, unless it waits anyway
 *
 * Hu et al. 2021, arXiv 2106.09685.
 */
import * as tf from '@tensorflow/tfjs-core';
import { recording } from '../autograd/gradients.ts';
import { FinetuneError } from '../errors.ts';
import type { Linear } from '../technique.ts';

/** A∗x as rows [n, r]. @param a of the kernel's shape, but for r at the end */
export function narrow(x: tf.Tensor, a: tf.Tensor, linear: Linear): tf.Tensor2D {
  const t = linear(x, a);
  const r = a.shape.at(-1)!;
  if (t.shape.at(-1) !== r)
    throw new FinetuneError(
      'bad-model',
      'low-rank',
      `a site gave [${t.shape}] for a kernel [${a.shape}]; expected ${r} at the end. Kernels that are used transposed, and channels that come first, take no adapter.`,
    );
  return tf.reshape(t, [-1, r]);
}

/** rows·B [n, dOut], in the shape of y. */
export const widen = (rows: tf.Tensor2D, b: tf.Tensor, y: tf.Tensor): tf.Tensor => tf.reshape(tf.matMul(rows, b as tf.Tensor2D), y.shape);

/** Dropout while a gradient is recorded: in training. */
export const dropped = <T extends tf.Tensor>(x: T, rate: number): T => (rate > 0 && recording() ? (tf.dropout(x, rate) as T) : x);

let made = 0;

/** A variable with a name that is unique in the engine; files leave the number out. Takes `value` over. */
export function ownVariable(value: tf.Tensor, name: string, trainable = true): tf.Variable {
  const variable = tf.variable(value, trainable, `${name}#${++made}`);
  value.dispose();
  return variable;
}
