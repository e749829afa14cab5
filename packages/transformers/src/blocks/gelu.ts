/**
 * y = x Φ(x), exact or with the tanh that GPT-2 approximates it by (Hendrycks & Gimpel 2016, arXiv 1606.08415). Backward reads x.
 *
 *     exact: y' = Φ(x) + x φ(x)     tanh: t = tanh u,  u = √(2/π) (x + 0.044715 x³),  y' = (1 + t)/2 + x (1 − t²) u'/2
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock } from './block.ts';
import { chain, plus, rest, times } from './chain.ts';

interface GeluAttrs {
  readonly approximate: boolean;
}

const ROOT = Math.sqrt(2 / Math.PI);
const CUBE = 0.044715;

/** Φ(x), or (1 + tanh u) / 2. */
function share(x: tf.Tensor, approximate: boolean): tf.Tensor {
  // x + c x³ = x (1 + c x²)
  const z = approximate ? chain(x, tf.square, times(CUBE), plus(1), times(x), times(ROOT), tf.tanh) : chain(x, times(Math.SQRT1_2), tf.erf);
  return chain(z, plus(1), times(0.5));
}

function slope(x: tf.Tensor, approximate: boolean): tf.Tensor {
  const half = share(x, approximate);
  if (!approximate) return chain(x, tf.square, times(-0.5), tf.exp, times(1 / Math.sqrt(2 * Math.PI)), times(x), plus(half));
  const inner = chain(x, tf.square, times(3 * CUBE), plus(1), times(ROOT), times(x)); // x u'
  // (1 − t²) / 2 = 2 h (1 − h), where h = (1 + t) / 2
  return chain(half, rest, times(half), times(2), times(inner), plus(half));
}

const block = defineBlock<GeluAttrs>({
  kernel: 'Gelu',
  forward: ({ x }, { approximate }) => [tf.mul(x!, share(x!, approximate))],
  reads: { x: ['x'] },
  backward: ({ x, dy }, { approximate }) => [tf.mul(dy!, slope(x!, approximate))],
});

/** x of any shape -> its shape. */
export const gelu = (x: tf.Tensor, approximate = false): tf.Tensor => block({ x }, { approximate })[0]!;
