/** A convolution and the batch norm that follows it, the same for the kinds of model. */
import type { Forward, Site, Undo } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type ConvBnWeights, shiftOf } from './fold-weights.ts';

export interface Pair {
  /** The names of their sites. */
  readonly conv: string;
  readonly norm: string;
  /** The shape of k next to the kernel. */
  readonly channels: readonly number[];
  /** Zeros are padded around the convolution's output before the norm, which turns them into β − μ·k: that is added behind. */
  readonly padded: boolean;
  /** The name of `weights().bias` if a node of its own adds it, which stays. */
  readonly biasBehind: string | undefined;
  /** The tensors as they are now. */
  weights(): ConvBnWeights;
  /** The variable that holds one of them; a graph's constant becomes one. */
  variable(role: keyof ConvBnWeights): tf.Variable;
  /** The convolution with another kernel and bias. */
  run(x: tf.Tensor, next: Forward, kernel: tf.Tensor, bias: tf.Tensor | undefined): tf.Tensor;
  /** The norm with frozen statistics. */
  normalize(x: tf.Tensor, next: Forward): tf.Tensor;
  /** [c] against the norm's input. */
  alongChannels(values: tf.Tensor): tf.Tensor;
}

export interface Folded {
  readonly kernel: tf.Tensor;
  readonly bias: tf.Tensor | undefined;
}

/**
 * One convolution with `folded` weights in place of both. With `yields`, not where another technique replaces the convolution too:
 * what that puts beside it is scaled by the norm as well, so there both run one after the other, with frozen statistics.
 */
export function replacePair(pair: Pair, conv: Site, norm: Site, folded: () => Folded, { yields }: { readonly yields: boolean }): Undo {
  let shared = yields ? undefined : false;
  const fused: Parameters<Site['replace']>[0] = (x, next) => {
    if (isShared()) return next(x);
    const { kernel, bias } = folded();
    return pair.run(x, next, kernel, bias);
  };
  let undoConv = conv.replace(fused);
  /** Asked first in the first run: all techniques are attached then. */
  const isShared = (): boolean => {
    if (shared === undefined) {
      undoConv();
      shared = conv.replaced;
      undoConv = conv.replace(fused);
    }
    return shared;
  };
  const undoNorm = norm.replace((x, next) => {
    if (isShared()) return pair.normalize(x, next);
    if (pair.padded) return tf.add(x, pair.alongChannels(shiftOf(pair.weights())));
    return tf.reshape(x, x.shape); // a handle of its own on the same buffer
  });
  return () => {
    undoConv();
    undoNorm();
  };
}
