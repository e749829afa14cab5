/**
 * y = w · (x − mean) / √(variance + ε) + b over the last axis (Ba et al. 2016, arXiv 1607.06450). Backward reads x alone; mean and
 * variance are formed again. tfjs's own layer is ten ops that keep five values of x's size.
 *
 *     x̂ = (x − m) · r,  g = w · dy     dx = r · (g − mean(g) − x̂ · mean(g · x̂))     dw = Σ dy · x̂     db = Σ dy
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock, sumRows } from './block.ts';
import { chain, minus, plus, times } from './chain.ts';

interface NormAttrs {
  readonly epsilon: number;
}

function normalized(x: tf.Tensor, epsilon: number): { readonly normal: tf.Tensor; readonly r: tf.Tensor } {
  const centered = tf.sub(x, tf.mean(x, -1, true));
  const variance = tf.tidy(() => tf.mean(tf.square(centered), -1, true));
  const r = tf.rsqrt(tf.add(variance, epsilon));
  const normal = tf.mul(centered, r);
  centered.dispose();
  return { normal, r };
}

const block = defineBlock<NormAttrs>({
  kernel: 'LayerNorm',
  forward: ({ x, weight, bias }, { epsilon }) => [chain(normalized(x!, epsilon).normal, times(weight!), plus(bias!))],
  reads: { x: ['x', 'weight'], weight: ['x'], bias: [] },
  backward: ({ x, weight, dy }, { epsilon }, wanted) => {
    if (wanted.every((input) => input === 'bias')) return [sumRows(dy!)];
    const { normal, r } = normalized(x!, epsilon);
    const gradient: { [input: string]: () => tf.Tensor } = {
      x: () => {
        const g = tf.mul(dy!, weight!);
        const alongX = chain(normal, times(g), (product) => tf.mean(product, -1, true), times(normal));
        return chain(g, minus(tf.mean(g, -1, true)), minus(alongX), times(r));
      },
      weight: () => sumRows(tf.mul(dy!, normal)),
      bias: () => sumRows(dy!),
    };
    return wanted.map((input) => tf.tidy(gradient[input]!));
  },
});

/** x [..., n], weight and bias [n] -> [..., n]. */
export const layerNorm = (x: tf.Tensor, weight: tf.Tensor, bias: tf.Tensor, epsilon: number): tf.Tensor =>
  block({ x, weight, bias }, { epsilon })[0]!;
