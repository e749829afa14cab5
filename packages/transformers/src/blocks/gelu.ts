/**
 * y = x Φ(x), exact or with the tanh that GPT-2 approximates it by (Hendrycks & Gimpel 2016, arXiv 1606.08415). Backward reads x.
 *
 *     exact: y' = Φ(x) + x φ(x)     tanh: t = tanh u,  u = √(2/π) (x + 0.044715 x³),  y' = (1 + t)/2 + x (1 − t²) u'/2
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock } from './block.ts';

interface GeluAttrs {
  readonly approximate: boolean;
}

const ROOT = Math.sqrt(2 / Math.PI);
const CUBE = 0.044715;

/** Φ(x), or (1 + tanh u) / 2. */
function share(x: tf.Tensor, approximate: boolean): tf.Tensor {
  const z = approximate
    ? tf.tanh(tf.mul(tf.mul(x, tf.add(tf.mul(tf.square(x), CUBE), 1)), ROOT)) // x + c x³ = x (1 + c x²)
    : tf.erf(tf.mul(x, Math.SQRT1_2));
  return tf.mul(tf.add(z, 1), 0.5);
}

function slope(x: tf.Tensor, approximate: boolean): tf.Tensor {
  const half = share(x, approximate);
  if (!approximate) return tf.add(half, tf.mul(x, tf.mul(tf.exp(tf.mul(tf.square(x), -0.5)), 1 / Math.sqrt(2 * Math.PI))));
  const inner = tf.mul(tf.add(tf.mul(tf.square(x), 3 * CUBE), 1), ROOT); // u'
  // (1 − t²) / 2 = 2 h (1 − h), where h = (1 + t) / 2
  return tf.add(half, tf.mul(tf.mul(x, inner), tf.mul(tf.mul(half, 2), tf.sub(1, half))));
}

const block = defineBlock<GeluAttrs>({
  kernel: 'Gelu',
  forward: ({ x }, { approximate }) => [tf.mul(x!, share(x!, approximate))],
  reads: { x: ['x'] },
  backward: ({ x, dy }, { approximate }) => [tf.mul(dy!, slope(x!, approximate))],
});

/** x of any shape -> its shape. */
export const gelu = (x: tf.Tensor, approximate = false): tf.Tensor => block({ x }, { approximate })[0]!;
