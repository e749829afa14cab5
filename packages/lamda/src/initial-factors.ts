/**
 * What A, S and B begin with. W = U·Σ·Vᵀ, of which the r largest are kept, in descending order: B freezes in that order.
 *
 *               A        S          B      beside                     output at step 0
 *   zero        U        0          Vᵀ                                that of the base
 *   principal   U        Σ / c      Vᵀ     − (A∗x)·(Σ·Vᵀ), frozen     that of the base; B has a gradient at once
 *   lora-xs     U·Σ      N(0, σ²)   Vᵀ                                within 1e-5 of the base
 *
 * The paper leaves the split of Σ open. 'principal' trains what the base does most (PiSSA, arXiv 2404.02948, replaces W by the residual;
 * here W stays as it is, and what is taken from it runs beside). 'lora-xs' is arXiv 2405.17604 with B freed for a while, σ = 1e-5.
 */
import { firstColumns, type LowRankSite, likeKernel, type TruncatedSvd } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';

/** Where the factors of an adapter start. */
export type Init = 'zero' | 'principal' | 'lora-xs';

export interface InitialFactors {
  /** In the shape of the kernel, r at the end. */
  readonly a: tf.Tensor;
  /** [r, r] */
  readonly s: tf.Tensor2D;
  /** [r, dOut] */
  readonly b: tf.Tensor2D;
  /** Σ·Vᵀ [r, dOut], taken away beside the path. */
  readonly minus?: tf.Tensor2D;
}

/** New tensors. @param scale c */
export function initialFactors(init: Init, { u, v, sigma }: TruncatedSvd, site: LowRankSite, rank: number, scale: number): InitialFactors {
  const matrix = (m: { rows: number; columns: number; data: Float64Array }) => tf.tensor2d(Float32Array.from(m.data), [m.rows, m.columns]);
  return tf.tidy(() => {
    const left = matrix(firstColumns(u, rank)); // [dIn, r]
    const b = tf.transpose(matrix(firstColumns(v, rank))) as tf.Tensor2D; // [r, dOut]
    const values = tf.tensor1d(Float32Array.from(sigma.subarray(0, rank)));
    const kernel = (a: tf.Tensor) => tf.clone(likeKernel(a, site));
    if (init === 'zero') return { a: kernel(left), s: tf.zeros<tf.Rank.R2>([rank, rank]), b };
    if (init === 'lora-xs')
      return { a: kernel(tf.mul(left, values)), s: tf.randomNormal<tf.Rank.R2>([rank, rank], 0, 1e-5, 'float32', 1), b };
    const diagonal = tf.mul(tf.eye(rank), tf.div(values, scale)) as tf.Tensor2D;
    return { a: kernel(left), s: diagonal, b, minus: tf.mul(tf.reshape(values, [-1, 1]), b) as tf.Tensor2D };
  }) as InitialFactors;
}
