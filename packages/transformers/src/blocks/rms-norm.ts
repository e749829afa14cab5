/**
 * y = w · x / √(mean(x²) + ε) over the last axis (Zhang & Sennrich 2019, arXiv 1910.07467). Backward reads x alone; what it was
 * divided by is formed again, one pass over x.
 *
 *     x̂ = x · r,  g = w · dy     dx = r · (g − x̂ · mean(g · x̂))     dw = Σ dy · x̂
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock, sumRows } from './block.ts';

interface NormAttrs {
  readonly epsilon: number;
}

const inverseRms = (x: tf.Tensor, epsilon: number) => tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), epsilon));

const block = defineBlock<NormAttrs>({
  kernel: 'RmsNorm',
  forward: ({ x, weight }, { epsilon }) => [tf.mul(tf.mul(x!, inverseRms(x!, epsilon)), weight!)],
  reads: { x: ['x', 'weight'], weight: ['x'] },
  backward: ({ x, weight, dy }, { epsilon }, wanted) => {
    const r = inverseRms(x!, epsilon);
    const normal = tf.mul(x!, r);
    const gradient: { [input: string]: () => tf.Tensor } = {
      x: () => {
        const g = tf.mul(dy!, weight!);
        return tf.mul(r, tf.sub(g, tf.mul(normal, tf.mean(tf.mul(g, normal), -1, true))));
      },
      weight: () => sumRows(tf.mul(dy!, normal)),
    };
    return wanted.map((input) => tf.tidy(gradient[input]!));
  },
});

/** x [..., n], weight [n] -> [..., n]. */
export const rmsNorm = (x: tf.Tensor, weight: tf.Tensor, epsilon: number): tf.Tensor => block({ x, weight }, { epsilon })[0]!;
