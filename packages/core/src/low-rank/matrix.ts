/** Dense matrices of doubles, row by row, and the products a decomposition needs. */

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
  /** Row-major, rows · columns values. */
  readonly data: Float64Array;
}

export const zeros = (rows: number, columns: number): Matrix => ({ rows, columns, data: new Float64Array(rows * columns) });

export function matrixFrom(rows: number, columns: number, values: ArrayLike<number>): Matrix {
  return { rows, columns, data: Float64Array.from(values) };
}

export function transposed({ rows, columns, data }: Matrix): Matrix {
  const result = zeros(columns, rows);
  for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) result.data[j * rows + i] = data[i * columns + j]!;
  return result;
}

/** a·b, [m, n]: adds rows of b, so that all three are read in order. */
export function multiply(a: Matrix, b: Matrix): Matrix {
  const result = zeros(a.rows, b.columns);
  const n = b.columns;
  for (let i = 0; i < a.rows; i++) {
    for (let k = 0; k < a.columns; k++) {
      const factor = a.data[i * a.columns + k]!;
      if (factor === 0) continue;
      for (let j = 0, at = i * n, from = k * n; j < n; j++, at++, from++) result.data[at]! += factor * b.data[from]!;
    }
  }
  return result;
}

/** The first `count` columns. */
export function firstColumns({ rows, columns, data }: Matrix, count: number): Matrix {
  const result = zeros(rows, count);
  for (let i = 0; i < rows; i++) result.data.set(data.subarray(i * columns, i * columns + count), i * count);
  return result;
}

export const dot = (a: Float64Array, b: Float64Array): number => {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
};
