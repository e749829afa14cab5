/** What the convolution of a pair runs with, and how the folded kernel waits for backward: not at all. */
import type { KeepRule } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { foldBias, foldKernel, scaleOf } from './fold-weights.ts';
import type { Folded, Pair } from './pair.ts';

/** w' and b' of the weights as they are now, but for what `pair` adds elsewhere. */
export function foldedNow(pair: Pair): Folded {
  const weights = pair.weights();
  const scale = scaleOf(weights);
  const kernel = foldKernel(weights, pair.channels, scale);
  if (pair.padded) return { kernel, bias: weights.bias && tf.mul(weights.bias, scale) };
  const bias = foldBias(weights, scale);
  return { kernel, bias: pair.biasBehind === undefined ? bias : tf.sub(bias, weights.bias!) };
}

export interface Recipes {
  /** As {@link foldedNow}; the kernel is folded again where backward reads it, while no weight has moved. */
  readonly folded: (pair: Pair) => Folded;
  readonly keep: KeepRule;
}

export function recipes(): Recipes {
  const pairs = new WeakMap<object, Pair>();
  return {
    folded(pair) {
      const now = foldedNow(pair);
      pairs.set(now.kernel.dataId, pair);
      return now;
    },
    keep({ tensor }) {
      const pair = pairs.get(tensor.dataId);
      if (!pair) return undefined;
      const decode = () => foldKernel(pair.weights(), pair.channels, scaleOf(pair.weights()));
      return { name: 'refold', encode: () => ({ bytes: 0, decode, dispose() {} }) };
    },
  };
}
