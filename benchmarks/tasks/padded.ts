import * as tf from '@tensorflow/tfjs-core';

/** Token ids and mask, [n, length] each. @param length default: of the longest row */
export function padded(
  rows: readonly (readonly number[])[],
  padding: number,
  length: number = Math.max(...rows.map((row) => row.length)),
): tf.Tensor2D[] {
  const matrix = (value: (row: readonly number[], at: number) => number) =>
    tf.tensor2d(
      rows.map((row) => Array.from({ length }, (_, at) => value(row, at))),
      undefined,
      'int32',
    );
  return [matrix((row, at) => row[at] ?? padding), matrix((row, at) => Number(at < row.length))];
}
