/**
 * The algebra of one convolution and the batch norm behind it. With frozen statistics their product is again a convolution:
 *
 *   γ (w∗x + b − μ) / √(σ² + ε) + β  =  w'∗x + b'        k = γ / √(σ² + ε)    w' = w·k    b' = β − (μ − b)·k
 *
 * Ordinary ops on small tensors, so gradients flow through them to w, b, γ and β: dw = k·dw', db = k·db', dβ = db',
 * dγ = (Σ dw'·w + db'·(b − μ)) / √(σ² + ε). You et al. 2023, arXiv 2305.11624, table 2.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Of one pair, with c output channels. */
export interface ConvBnWeights {
  /** As the convolution takes it: [h, w, cIn, c] and the like. */
  readonly kernel: tf.Tensor;
  /** [c]. @default zero */
  readonly bias?: tf.Tensor | undefined;
  /** [c]. @default one */
  readonly gamma?: tf.Tensor | undefined;
  /** [c]. @default zero */
  readonly beta?: tf.Tensor | undefined;
  /** Moving mean, [c]. */
  readonly mean: tf.Tensor;
  /** Moving variance, [c]. */
  readonly variance: tf.Tensor;
  readonly epsilon: number;
}

/** k [c]: by how much the norm scales each channel. */
export function scaleOf({ gamma, variance, epsilon }: ConvBnWeights): tf.Tensor {
  const inverse = tf.rsqrt(tf.add(variance, epsilon));
  return gamma ? tf.mul(gamma, inverse) : inverse;
}

/**
 * w' = w·k, of the kernel's shape, and b' = β − (μ − b)·k, [c]. For a loss of your own: `tf.conv2d(x, kernel, …).add(bias)`.
 *
 * @param channels the shape of k next to the kernel: `[c]` where the channels are last; `[c, 1]` for a transposed convolution
 *   [h, w, c, cIn]; `[cIn, m]` for a depthwise one [h, w, cIn, m]
 */
export function foldWeights(
  weights: ConvBnWeights,
  channels: readonly number[] = [weights.mean.size],
): { readonly kernel: tf.Tensor; readonly bias: tf.Tensor } {
  const scale = scaleOf(weights);
  return { kernel: foldKernel(weights, channels, scale), bias: foldBias(weights, scale) };
}

export function foldKernel({ kernel }: ConvBnWeights, channels: readonly number[], scale: tf.Tensor): tf.Tensor {
  return tf.mul(kernel, tf.reshape(scale, [...channels]));
}

export function foldBias({ bias, beta, mean }: ConvBnWeights, scale: tf.Tensor): tf.Tensor {
  const centered = tf.mul(bias ? tf.sub(mean, bias) : mean, scale);
  return beta ? tf.sub(beta, centered) : tf.neg(centered);
}

/** β − μ·k: what the norm adds to a value that is already scaled, [c]. */
export const shiftOf = (weights: ConvBnWeights): tf.Tensor => foldBias({ ...weights, bias: undefined }, scaleOf(weights));
