/**
 * Sums over outer axes where they lie: x as [outer, rows, columns], summed over rows, without transposing x as tfjs does. Two passes
 * where the rows are many: strips of rows first, then the strips; always in the same order.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGPUBackend } from './backend.ts';
import { withTemporaries } from './backend.ts';
import { dispatch } from './dispatch.ts';
import { prefersTiles } from './product.ts';

const LANES = 32;
/** A thread sums no fewer rows, unless there are no more. */
const SHORTEST = 32;

/** [outer, rows, columns] -> [outer, columns], returned as `shape`; each sum is multiplied by `scale`. Float32. The caller owns the result. */
export function sumColumns(
  backend: WebGPUBackend,
  x: tf.TensorInfo,
  outer: number,
  rows: number,
  shape: number[],
  scale = 1,
): tf.TensorInfo {
  const size = tf.util.sizeFromShape(shape);
  const columns = size / outer;
  const width = columns % 4 === 0 ? 4 : 1;
  const threads = size / width;
  const wanted = Math.floor((prefersTiles(backend) ? 65536 : 512) / threads);
  const strips = Math.max(1, Math.min(wanted, Math.floor(rows / SHORTEST)));
  const height = Math.ceil(rows / strips);
  const pass = (source: tf.TensorInfo, count: number, each: number, pieces: number, target: number[], factor: number): tf.TensorInfo =>
    dispatch(backend, {
      key: 'sumColumns',
      inputs: { x: [source, width === 4 ? 'vec4f' : 'f32'] },
      outputs: { y: [{ shape: target, dtype: 'float32' }, width === 4 ? 'vec4f' : 'f32'] },
      uniforms: {
        rows: ['u32', count],
        each: ['u32', each],
        pieces: ['u32', pieces],
        columns: ['u32', columns / width],
        size: ['u32', outer * pieces * (columns / width)],
        factor: ['f32', factor],
      },
      workgroups: Math.ceil((outer * pieces * columns) / width / LANES),
      code: () => code(width === 4 ? 'vec4f' : 'f32'),
    }).y;
  const pieces = Math.ceil(rows / height);
  if (pieces === 1) return pass(x, rows, rows, 1, shape, scale);
  return withTemporaries(backend, (temporary) =>
    pass(temporary(pass(x, rows, height, pieces, [outer, pieces, columns], 1)), pieces, pieces, 1, shape, scale),
  );
}

const code = (type: string): string => `
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * ${LANES} + local;
  if (i >= u.size) { return; }
  let column = i % u.columns; let piece = (i / u.columns) % u.pieces; let outer = i / (u.columns * u.pieces);
  let first = piece * u.each; let last = min(first + u.each, u.rows);
  var at = (outer * u.rows + first) * u.columns + column;
  var even = ${type}(); var odd = ${type}();
  var row = first;
  for (; row + 1 < last; row += 2) { even += x[at]; odd += x[at + u.columns]; at += 2 * u.columns; }
  if (row < last) { even += x[at]; }
  y[i] = (even + odd) * u.factor;
}`;
