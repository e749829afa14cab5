/**
 * y = silu(gate) · up, silu(g) = g σ(g) (Shazeer 2020, arXiv 2002.05202). Backward reads gate and up, and forms σ again.
 *
 *     d up = dy · silu(gate)     d gate = dy · up · σ (1 + gate (1 − σ))
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock } from './block.ts';

const block = defineBlock<object>({
  kernel: 'SwiGlu',
  forward: ({ gate, up }) => [tf.mul(tf.mul(gate!, tf.sigmoid(gate!)), up!)],
  reads: { gate: ['gate', 'up'], up: ['gate'] },
  backward: ({ gate, up, dy }, _, wanted) => {
    const s = tf.sigmoid(gate!);
    const gradient: { [input: string]: () => tf.Tensor } = {
      gate: () => tf.mul(tf.mul(dy!, up!), tf.mul(s, tf.add(tf.mul(gate!, tf.sub(1, s)), 1))),
      up: () => tf.mul(dy!, tf.mul(gate!, s)),
    };
    return wanted.map((input) => tf.tidy(gradient[input]!));
  },
});

/** gate and up of one shape -> that shape. */
export const swiglu = (gate: tf.Tensor, up: tf.Tensor): tf.Tensor => block({ gate, up }, {})[0]!;
