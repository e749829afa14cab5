/**
 * Rounding that knows what a table is multiplied with (GPTQ: Frantar et al. 2022, arXiv 2210.17323). The values of a row are rounded one
 * after the other, and what one loses, those not yet rounded make up for, so that the output changes least:
 *
 *     min ‖(w − q) X‖²     H = X Xᵀ + λ I,  H⁻¹ = Uᵀ U     w_j −= (w_i − q_i) U_ij / U_ii  for j > i
 *
 * Values with large inputs go first, in groups whose scales are fixed before. What differs: rows go one by one, so that what is beside
 * the table is one row.
 */
import { codes } from '../blocks/levels.ts';
import type { PackOptions } from '../blocks/packed-table.ts';

/** [columns, columns], float64. */
export type Hessian = Float64Array;

/** @param damping λ, of the mean of the diagonal */
export function roundTogether(hessian: Hessian, columns: number, damping: number): Required<PackOptions> {
  const weights = Float64Array.from({ length: columns }, (_, i) => hessian[i * columns + i]!);
  const mean = weights.reduce((a, b) => a + b, 0) / columns || 1;
  const order = Array.from(weights.keys()).sort((a, b) => weights[b]! - weights[a]!);
  const damped = new Float64Array(columns * columns);
  order.forEach((from, i) => {
    order.forEach((to, j) => {
      damped[i * columns + j] = hessian[from * columns + to]! + (i === j ? damping * mean : 0);
    });
  });
  const factor = inverseFactor(damped, columns);
  return {
    weights: weights.map((weight) => weight + damping * mean),
    round: ({ format, group }) => {
      const { levels, nearest } = codes[format];
      const rest = new Float64Array(columns);
      return (row, scales) => {
        order.forEach((at, i) => {
          rest[i] = row[at]!;
        });
        const chosen = new Uint8Array(columns);
        for (let i = 0; i < columns; i++) {
          const at = order[i]!;
          const scale = scales[Math.floor(at / group)]! || 1;
          const code = nearest(rest[i]! / scale);
          chosen[at] = code;
          const lost = (rest[i]! - levels[code]! * scale) / factor[i * columns + i]!;
          for (let j = i + 1, u = i * columns + j; j < columns; j++, u++) rest[j]! -= lost * factor[u]!;
        }
        return chosen;
      };
    },
  };
}

/** The upper U with Uᵀ U = H⁻¹: from the lower factor of H with rows and columns in reverse, inverted and reversed again. */
export function inverseFactor(h: Float64Array, n: number): Float64Array {
  // P H P = L Lᵀ with P the reversal: H = R Rᵀ with R = P L P upper, and U = R⁻¹
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j <= i; j++) {
      let sum = h[(n - 1 - i) * n + (n - 1 - j)]!;
      for (let k = 0; k < j; k++) sum -= l[i * n + k]! * l[j * n + k]!;
      l[i * n + j] = i === j ? Math.sqrt(sum) : sum / l[j * n + j]!;
    }
  // the inverse of L by columns
  const inverse = new Float64Array(n * n);
  for (let j = 0; j < n; j++) {
    inverse[j * n + j] = 1 / l[j * n + j]!;
    for (let i = j + 1; i < n; i++) {
      let sum = 0;
      for (let k = j; k < i; k++) sum -= l[i * n + k]! * inverse[k * n + j]!;
      inverse[i * n + j] = sum / l[i * n + i]!;
    }
  }
  const u = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = i; j < n; j++) u[i * n + j] = inverse[(n - 1 - i) * n + (n - 1 - j)]!;
  return u;
}
