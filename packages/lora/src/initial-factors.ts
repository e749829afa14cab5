/**
 * What A and B begin with, so that the output is that of the base.
 *
 *   true        A uniform in ±1/√dIn, B 0 (Kaiming with a = √5, as torch.nn.Linear); an embedding has A 0 and B normal
 *   'gaussian'  A normal with deviation 1/r, B 0
 *   'pissa'     A = U·√(Σ/c), B = √(Σ/c)·Vᵀ of the r largest, and c·A·B of the beginning is taken away beside the path. In peft the base
 *               gives it up instead; here the base stays as it is, at the price of a second, frozen path
 */
import { firstColumns, type LowRankSite, likeKernel, matrixShape, type TruncatedSvd } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';
import type { Settled } from './config.ts';
import { isEmbedding } from './target-modules.ts';

export interface InitialFactors {
  /** In the shape of the kernel, r at the end. */
  readonly a: tf.Tensor;
  /** [r, dOut] */
  readonly b: tf.Tensor;
}

/** New tensors. */
export function initialFactors(init: Settled['init_lora_weights'], site: LowRankSite, rank: number, seed: number): InitialFactors {
  const [dIn, dOut] = matrixShape(site);
  const shape = [...site.kernelShape.slice(0, -1), rank];
  const bound = 1 / Math.sqrt(dIn);
  if (isEmbedding(site))
    return { a: tf.zeros(shape), b: init === false ? tf.zeros([rank, dOut]) : tf.randomNormal([rank, dOut], 0, 1, 'float32', seed) };
  const a =
    init === 'gaussian' ? tf.randomNormal(shape, 0, 1 / rank, 'float32', seed) : tf.randomUniform(shape, -bound, bound, 'float32', seed);
  return { a, b: tf.zeros([rank, dOut]) };
}

/** New tensors. @param scale c */
export function principalFactors({ u, v, sigma }: TruncatedSvd, site: LowRankSite, rank: number, scale: number): InitialFactors {
  const matrix = (m: { rows: number; columns: number; data: Float64Array }) => tf.tensor2d(Float32Array.from(m.data), [m.rows, m.columns]);
  return tf.tidy(() => {
    const root = tf.tensor1d(Float32Array.from(sigma.subarray(0, rank), (x) => Math.sqrt(x / scale)));
    const a = tf.mul(matrix(firstColumns(u, rank)), root);
    return { a: tf.clone(likeKernel(a, site)), b: tf.transpose(tf.mul(matrix(firstColumns(v, rank)), root)) };
  }) as { a: tf.Tensor; b: tf.Tensor };
}
