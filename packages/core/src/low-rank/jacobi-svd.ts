/**
 * The SVD of a small square matrix by one-sided Jacobi rotations (Hestenes 1958), in doubles.
 *
 *   A = U·diag(σ)·Vᵀ        rotates pairs of columns of A until all are orthogonal; their lengths are σ
 *
 * Accurate to the last digits also for small singular values, and as short as an algorithm for it gets.
 */
import { dot, type Matrix, transposed, zeros } from './matrix.ts';
import { orthonormalize } from './orthonormalize.ts';

export interface SVD {
  /** [m, n], orthonormal columns. */
  readonly u: Matrix;
  /** Descending. */
  readonly sigma: Float64Array;
  /** [n, n], orthonormal columns. */
  readonly v: Matrix;
}

const SWEEPS = 60;

export function jacobiSvd(a: Matrix): SVD {
  const { columns: n, rows } = a;
  const columnsOf = (m: Matrix) => Array.from({ length: n }, (_, j) => transposedData.get(m)!.subarray(j * m.rows, (j + 1) * m.rows));
  const identity = zeros(n, n);
  for (let i = 0; i < n; i++) identity.data[i * n + i] = 1;
  const transposedData = new Map([a, identity].map((m) => [m, transposed(m).data]));
  const [x, v] = [columnsOf(a), columnsOf(identity)];
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    let rotated = false;
    for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) rotated = rotate(x, v, p, q) || rotated;
    if (!rotated) break;
  }
  const lengths = x.map((column) => Math.sqrt(dot(column, column)));
  const order = lengths.map((_, i) => i).sort((i, j) => lengths[j]! - lengths[i]! || i - j);
  const gather = (columns: readonly Float64Array[], height: number): Matrix => {
    const result = zeros(n, height);
    order.forEach((from, to) => result.data.set(columns[from]!, to * height));
    return transposed(result);
  };
  // Orthonormal also where σ is 0, with R's diagonal of positive lengths.
  return { u: orthonormalize(gather(x, rows)).q, sigma: Float64Array.from(order, (i) => lengths[i]!), v: gather(v, n) };
}

/** Makes columns p and q of x orthogonal, and turns those of v along. False if they are already. */
function rotate(x: readonly Float64Array[], v: readonly Float64Array[], p: number, q: number): boolean {
  const [a, b] = [x[p]!, x[q]!];
  const [alpha, beta, gamma] = [dot(a, a), dot(b, b), dot(a, b)];
  if (Math.abs(gamma) <= 1e-15 * Math.sqrt(alpha * beta) || alpha * beta === 0) return false;
  const zeta = (beta - alpha) / (2 * gamma);
  const t = Math.sign(zeta || 1) / (Math.abs(zeta) + Math.sqrt(1 + zeta * zeta));
  const c = 1 / Math.sqrt(1 + t * t);
  for (const [left, right] of [
    [a, b],
    [v[p]!, v[q]!],
  ] as const) {
    for (let i = 0; i < left.length; i++) {
      const [l, r] = [left[i]!, right[i]!];
      left[i] = c * (l - t * r);
      right[i] = c * (t * l + r);
    }
  }
  return true;
}
