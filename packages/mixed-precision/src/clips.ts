/**
 * Clips go by their output, which the next product keeps in half anyway: no mask waits beside it.
 *
 *   dx = dy where low < y < high, else 0
 *
 * At the bounds themselves the gradient is 0, where tfjs's is dy: in half, values just inside round to them.
 */
import type { GradientRule, GradientRules } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';

const clip = (bounds: (attrs: { readonly [name: string]: unknown }) => readonly [low: number, high: number]): GradientRule => ({
  keep: ({ outputs }) => ({ y: outputs[0]! }),
  backward([dy], { y }, { attrs }) {
    const [low, high] = bounds(attrs);
    const inside = tf.tidy(() => tf.logicalAnd(tf.greater(y!, low), tf.less(y!, high)));
    return { x: tf.where(inside, dy!, tf.zerosLike(dy!)) };
  },
});

export const clips: GradientRules = {
  Relu6: clip(() => [0, 6]),
  ClipByValue: clip(({ clipValueMin, clipValueMax }) => [clipValueMin as number, clipValueMax as number]),
};
