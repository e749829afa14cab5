/** A convolution and the batch norm that follows it, the same for the kinds of model. */
import { FinetuneError, type Forward, type Site, type Undo } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { ConvBnWeights } from './fold-weights.ts';
import { shiftOf } from './fold-weights.ts';

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

/** How many replacements a site has; core that does not say is taken to have ours alone. */
const replacementsOf = (site: Site): number => (site as { readonly replacements?: number }).replacements ?? 1;

/** One convolution with `folded` weights in place of both. */
export function replacePair(pair: Pair, conv: Site, norm: Site, folded: () => Folded): Undo {
  const undos = [
    conv.replace((x, next) => {
      const { kernel, bias } = folded();
      return pair.run(x, next, kernel, bias);
    }),
    norm.replace((x) => (pair.padded ? tf.add(x, pair.alongChannels(shiftOf(pair.weights()))) : tf.reshape(x, x.shape))),
  ];
  return () => undos.forEach((undo) => undo());
}

/**
 * As {@link replacePair} while nobody else replaces the convolution. An adapter beside it is scaled by the norm as well, so then
 * both run one after the other, with frozen statistics.
 */
export function replacePairAlone(pair: Pair, conv: Site, norm: Site, folded: () => Folded): Undo {
  const taken = (conv as { readonly replaced?: boolean }).replaced === true;
  const alone = () => !taken && replacementsOf(conv) === 1;
  const made = new WeakSet<object>();
  const undos = [
    conv.replace((x, next) => {
      if (!alone()) return next(x);
      const { kernel, bias } = folded();
      const y = pair.run(x, next, kernel, bias);
      made.add(y.dataId);
      return y;
    }),
    norm.replace((x, next) => {
      if (!alone()) return pair.normalize(x, next);
      if (pair.padded) return tf.add(x, pair.alongChannels(shiftOf(pair.weights())));
      if (!(pair.biasBehind !== undefined || made.has(x.dataId))) throw wrapped(pair);
      return tf.reshape(x, x.shape); // a handle of its own on the same buffer
    }),
  ];
  return () => undos.forEach((undo) => undo());
}

function wrapped({ conv, norm }: Pair): FinetuneError {
  return new FinetuneError(
    'conflict',
    'tuneMode',
    `another technique replaces "${conv}" as well, and what it adds would miss the scale of "${norm}". Put tuneMode last in the list of techniques.`,
  );
}
