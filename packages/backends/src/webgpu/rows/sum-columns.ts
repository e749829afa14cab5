/**
 * Sums over outer axes where they lie: [outer, rows, columns], summed over rows, without the transpose that tfjs makes. Two passes where the
 * rows are many, strips of rows first and then the strips, so always in the same order.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { HalfType } from '../../half.ts';
import { type WebGPUBackend, withTemporaries } from '../backend.ts';
import { roundings } from '../halves/half-casts.ts';
import { prefersTiles } from '../products/plan.ts';
import { dispatch } from '../recording/dispatch.ts';

const LANES = 32;
/** A thread sums no fewer rows, unless there are no more. */
const SHORTEST = 32;

export interface ColumnSum {
  readonly outer: number;
  readonly rows: number;
  /** Of the result; its size is outer · columns. */
  readonly shape: readonly number[];
  /** Each sum is multiplied by it. @default 1 */
  readonly scale?: number;
  /** What is summed: WGSL of `x[at]`, `at`, `column`, the place in an input of one row, and `line`, the row. @default x[at] */
  readonly term?: string;
  /** The result: WGSL of `sum` and `column`. @default sum */
  readonly finish?: string;
  /** Tensors that `term` or `finish` read by name: as large as x, or one row of it. */
  readonly beside?: { readonly [name: string]: tf.TensorInfo };
  /** Tensors with two numbers a row of x, which `term` reads as `name[line]`, a vec2f. */
  readonly ofRow?: { readonly [name: string]: tf.TensorInfo };
  readonly epsilon?: number;
  /** The result is rounded to it. @default it is not */
  readonly half?: HalfType | undefined;
}

/** Float32. The caller owns the result. */
export function sumColumns(backend: WebGPUBackend, x: tf.TensorInfo, options: ColumnSum): tf.TensorInfo {
  const { outer, rows, shape, scale = 1, term = 'x[at]', beside = {}, ofRow = {}, epsilon = 0, half } = options;
  const columns = tf.util.sizeFromShape([...shape]) / outer;
  const width = columns % 4 === 0 ? 4 : 1;
  const type = width === 4 ? 'vec4f' : 'f32';
  const exact = options.finish ?? 'sum';
  const finish = half ? `rounded${width}(${exact})` : exact;
  const wanted = Math.floor(((prefersTiles(backend) ? 65536 : 512) * width) / (outer * columns));
  const strips = Math.max(1, Math.min(wanted, Math.floor(rows / SHORTEST)));
  const height = Math.ceil(rows / strips);
  const pieces = Math.ceil(rows / height);
  const pass = (
    source: tf.TensorInfo,
    count: number,
    each: number,
    to: readonly number[],
    what: { term: string; finish: string; factor: number },
  ) => {
    const parts = Math.ceil(count / each);
    const read = [
      ...Object.entries(beside).map(([name, tensor]) => [name, tensor, type] as const),
      ...Object.entries(ofRow).map(([name, tensor]) => [name, tensor, 'vec2f'] as const),
    ].filter(([name]) => new RegExp(`\\b${name}\\b`).test(what.term + what.finish));
    return dispatch(backend, {
      key: `sumColumns ${what.term} ${what.finish} ${half ?? ''}`,
      inputs: { x: [source, type], ...Object.fromEntries(read.map(([name, tensor, element]) => [name, [tensor, element] as const])) },
      outputs: { y: [{ shape: to, dtype: 'float32' }, type] },
      uniforms: {
        rows: ['u32', count],
        each: ['u32', each],
        parts: ['u32', parts],
        columns: ['u32', columns / width],
        size: ['u32', (outer * parts * columns) / width],
        factor: ['f32', what.factor],
        epsilon: ['f32', epsilon],
      },
      workgroups: Math.ceil((outer * parts * columns) / width / LANES),
      code: () => `${half ? roundings(half) : ''}${code(type, what.term, what.finish)}`,
    }).y;
  };
  if (pieces === 1) return pass(x, rows, rows, shape, { term, finish, factor: scale });
  return withTemporaries(backend, (temporary) => {
    const sums = temporary(pass(x, rows, height, [outer, pieces, columns], { term, finish: 'sum', factor: 1 }));
    return pass(sums, pieces, pieces, shape, { term: 'x[at]', finish, factor: scale });
  });
}

const code = (type: string, term: string, finish: string): string => `
fn term(at: u32, column: u32, line: u32) -> ${type} { return ${term}; }
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * ${LANES} + local;
  if (i >= u.size) { return; }
  let column = i % u.columns; let part = (i / u.columns) % u.parts; let outer = i / (u.columns * u.parts);
  let first = part * u.each; let last = min(first + u.each, u.rows);
  var at = (outer * u.rows + first) * u.columns + column;
  var even = ${type}(); var odd = ${type}();
  let line = outer * u.rows;
  var row = first;
  for (; row + 1 < last; row += 2) { even += term(at, column, line + row); odd += term(at + u.columns, column, line + row + 1); at += 2 * u.columns; }
  if (row < last) { even += term(at, column, line + row); }
  let sum = (even + odd) * u.factor;
  y[i] = ${finish};
}`;
