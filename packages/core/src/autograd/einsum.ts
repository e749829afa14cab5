/**
 * The gradient of Einsum, which tfjs 4.22 lacks on every backend (tensorflow/tfjs#8277).
 *
 *   y[o] = Σ a[i]·b[j]     da[i] = Σ dy[o]·b[j], repeated over the labels that only a has and that were summed away
 *
 * Repeated labels within one operand (`ii->i`) are refused by tfjs's forward already.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { InputGradient, Values } from './rules.ts';

export function einsum(input: string, inputs: Values, { equation }: { equation: string }): InputGradient {
  const [left, out] = equation.replace(/\s/g, '').split('->') as [string, string];
  const operands = left.split(',');
  const own = operands[Number(input)]!;
  const others = Object.keys(inputs).filter((name) => name !== input);
  return [
    others,
    (dy, v) => {
      const given = [out, ...others.map((name) => operands[Number(name)]!)];
      const reached = [...own].filter((label) => given.some((labels) => labels.includes(label))).join('');
      const dx = tf.einsum(`${given.join(',')}->${reached}`, dy, ...others.map((name) => v[name]!));
      const shape = v[input]!.shape;
      return tf.broadcastTo(
        tf.reshape(
          dx,
          shape.map((d, i) => (reached.includes(own[i]!) ? d : 1)),
        ),
        shape,
      );
    },
  ];
}
