/**
 * The r largest singular values and vectors of a matrix, without the others: randomised subspace iteration.
 *
 *   Y = W·Ω    Q = qr(Y)    repeat q times: Q = qr(W·qr(Wᵀ·Q))    Qᵀ·W = R₂ᵀ·Q₂ᵀ,  R₂ᵀ = U'·Σ·V'ᵀ    U = Q·U'    V = Q₂·V'
 *
 * Halko, Martinsson & Tropp 2011, arXiv 0909.4061, algorithms 4.4 and 5.1. Everything is done in doubles, but for the products with W of
 * large matrices, which run on the backend, in float32: vectors are orthonormal in either case, and singular values then have six digits.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { jacobiSvd } from './jacobi-svd.ts';
import { firstColumns, type Matrix, matrixFrom, multiply, transposed, zeros } from './matrix.ts';
import { orthonormalize } from './orthonormalize.ts';
import { randomSigns } from './random-signs.ts';

/** Options of {@link truncatedSvd}. */
export interface SvdOptions {
  /** Of the random sketch: the same seed gives the same result on one backend. @default 0 */
  readonly seed?: number;
  /** Power iterations: more for spectra that fall slowly. @default 4 */
  readonly iterations?: number;
  /** Columns of the sketch beyond the rank. @default 10 */
  readonly oversample?: number;
}

/** w ≈ u·diag(sigma)·vᵀ. */
export interface TruncatedSvd {
  /** [m, r], orthonormal columns. */
  readonly u: Matrix;
  /** r of them, descending. */
  readonly sigma: Float64Array;
  /** [n, r], orthonormal columns. */
  readonly v: Matrix;
  /** ‖w‖²: the sum of the squares of all singular values, also those left out. */
  readonly energy: number;
}

/** Multiplications above which the backend's matmul pays for the way there and back. */
const LARGE = 2 ** 20;

/**
 * @param w [m, n], borrowed
 * @param rank 1 to min(m, n)
 * @throws FinetuneError `bad-option` (rank), `not-finite` (NaN or Inf in w)
 */
export function truncatedSvd(w: tf.Tensor2D, rank: number, options: SvdOptions = {}): TruncatedSvd {
  const [m, n] = w.shape;
  if (!(Number.isInteger(rank) && rank >= 1 && rank <= Math.min(m, n)))
    throw new FinetuneError(
      'bad-option',
      'svd',
      `got rank ${rank} for a matrix [${m}, ${n}]; expected a whole number from 1 to ${Math.min(m, n)}.`,
    );
  const { seed = 0, iterations = 4, oversample = 10 } = options;
  const values = w.dataSync();
  let energy = 0;
  for (const x of values) energy += x * x;
  if (!Number.isFinite(energy)) throw new FinetuneError('not-finite', 'svd', `NaN or Inf in a matrix [${m}, ${n}]. Look at the weights.`);
  const width = Math.min(rank + oversample, m, n);
  const by = m * n * width > LARGE ? onBackend(w) : inDoubles(matrixFrom(m, n, values));
  const sketch = zeros(n, width);
  const draw = randomSigns(seed);
  for (let i = 0; i < sketch.data.length; i++) sketch.data[i] = draw();
  let q = orthonormalize(by.times(sketch)).q; // [m, width]
  for (let i = 0; i < iterations; i++) q = orthonormalize(by.times(orthonormalize(by.transposedTimes(q)).q)).q;
  const { q: right, r } = orthonormalize(by.transposedTimes(q)); // [n, width], [width, width]
  const small = jacobiSvd(transposed(r));
  return {
    u: multiply(q, firstColumns(small.u, rank)),
    sigma: small.sigma.slice(0, rank),
    v: multiply(right, firstColumns(small.v, rank)),
    energy,
  };
}

interface Products {
  times(x: Matrix): Matrix;
  transposedTimes(x: Matrix): Matrix;
}

function inDoubles(w: Matrix): Products {
  const wt = transposed(w);
  return { times: (x) => multiply(w, x), transposedTimes: (x) => multiply(wt, x) };
}

function onBackend(w: tf.Tensor2D): Products {
  const product = (x: Matrix, flip: boolean): Matrix => {
    const y = tf.tidy(() => tf.matMul(w, tf.tensor2d(Float32Array.from(x.data), [x.rows, x.columns]), flip));
    const [rows, columns] = y.shape as [number, number];
    const result = matrixFrom(rows, columns, y.dataSync());
    y.dispose();
    return result;
  };
  return { times: (x) => product(x, false), transposedTimes: (x) => product(x, true) };
}
