/**
 * y = silu(gate) · up, silu(g) = g σ(g) (Shazeer 2020, arXiv 2002.05202). Backward reads gate and up, and forms σ again.
 *
 *     d up = dy · silu(gate)     d gate = dy · up · σ (1 + gate (1 − σ))
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock } from './block.ts';
import { chain, plus, rest, times } from './chain.ts';

const block = defineBlock<object>({
  kernel: 'SwiGlu',
  forward: ({ gate, up }) => [chain(gate!, tf.sigmoid, times(gate!), times(up!))],
  reads: { gate: ['gate', 'up'], up: ['gate'] },
  backward: ({ gate, up, dy }, _, wanted) => {
    const s = tf.sigmoid(gate!);
    const gradient: { [input: string]: () => tf.Tensor } = {
      gate: () => chain(s, rest, times(gate!), plus(1), times(s), times(up!), times(dy!)),
      up: () => chain(s, times(gate!), times(dy!)),
    };
    return wanted.map((input) => gradient[input]!());
  },
});

/** gate and up of one shape -> that shape. */
export const swiglu = (gate: tf.Tensor, up: tf.Tensor): tf.Tensor => block({ gate, up }, {})[0]!;
