/**
 * QR by modified Gram-Schmidt, each column twice ("twice is enough": Giraud, Langou & Rozloznik 2005), in doubles.
 *
 *   A = Q·R        Q [m, n] with orthonormal columns, R [n, n] upper triangular, m >= n
 *
 * A column that depends on those before it has a zero on R's diagonal, and a direction of Q's own choosing in its place, so that Q is
 * orthonormal whatever A's rank.
 */
import { dot, type Matrix, transposed, zeros } from './matrix.ts';
import { randomSigns } from './random-signs.ts';

export interface QR {
  readonly q: Matrix;
  readonly r: Matrix;
}

export function orthonormalize(a: Matrix): QR {
  const { rows, columns: n } = a;
  const r = zeros(n, n);
  const work = transposed(a).data; // column by column
  const columns = Array.from({ length: n }, (_, j) => work.subarray(j * rows, (j + 1) * rows));
  const draw = randomSigns(1);
  columns.forEach((column, j) => {
    const before = columns.slice(0, j);
    const length = norm(column);
    const note = (i: number, c: number) => {
      r.data[i * n + j]! += c;
    };
    for (let pass = 0; pass < 2; pass++) subtract(column, before, note);
    const left = norm(column);
    if (left > 1e-14 * length && left > Number.MIN_VALUE) {
      r.data[j * n + j] = left;
      scale(column, left);
      return;
    }
    do {
      for (let i = 0; i < rows; i++) column[i] = draw();
      for (let pass = 0; pass < 2; pass++) subtract(column, before);
    } while (norm(column) < 1e-6);
    scale(column, norm(column));
  });
  return { q: transposed({ rows: n, columns: rows, data: work }), r };
}

const norm = (x: Float64Array): number => Math.sqrt(dot(x, x));

function scale(x: Float64Array, by: number): void {
  for (let i = 0; i < x.length; i++) x[i]! /= by;
}

function subtract(x: Float64Array, directions: readonly Float64Array[], note: (i: number, c: number) => void = () => {}): void {
  directions.forEach((q, i) => {
    const c = dot(q, x);
    for (let k = 0; k < x.length; k++) x[k]! -= c * q[k]!;
    note(i, c);
  });
}
