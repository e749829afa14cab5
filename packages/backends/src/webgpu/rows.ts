/**
 * A sum over each row, and then a value per element that may use it. On a GPU a work group takes a row; on adapters that run on the CPU,
 * where barriers are costly, a thread does.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGPUBackend } from './backend.ts';
import { dispatch, type Input } from './dispatch.ts';
import { prefersTiles } from './plan.ts';

const LANES = 64;
/** Threads of a group that take a row each. */
const FEW = 8;

/**
 * For tensors of one shape, rows along its last axis.
 * @param term WGSL of what is summed at `at`
 * @param value WGSL of the result at `at`, with the row's `sum`
 * @returns float32; the caller owns it
 */
export function overRows(
  backend: WebGPUBackend,
  key: string,
  tensors: { readonly [name: string]: tf.TensorInfo },
  shape: readonly number[],
  term: string,
  value: string,
  together: boolean = prefersTiles(backend),
): tf.TensorInfo {
  const columns = shape.at(-1) ?? 1;
  const rows = tf.util.sizeFromShape([...shape]) / Math.max(columns, 1);
  const inputs = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, [tensor, 'f32'] as Input]));
  return dispatch(backend, {
    key: `${key}${together ? ' together' : ''}`,
    inputs,
    outputs: { result: [{ shape, dtype: 'float32' }, 'f32'] },
    uniforms: { rows: ['u32', rows], columns: ['u32', columns] },
    workgroups: together ? rows : Math.ceil(rows / FEW),
    code: () => (together ? byGroup(term, value) : byThread(term, value)),
  }).result;
}

const entry = (lanes: number): string => `@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32)`;

const byThread = (term: string, value: string): string => `
${entry(FEW)} {
  let row = flat(group, groups) * ${FEW} + local;
  if (row >= u.rows) { return; }
  let first = row * u.columns; let last = first + u.columns;
  var sum = 0.0;
  for (var at = first; at < last; at++) { sum += ${term}; }
  for (var at = first; at < last; at++) { result[at] = ${value}; }
}`;

const byGroup = (term: string, value: string): string => `
var<workgroup> sums: array<f32, ${LANES}>;
${entry(LANES)} {
  let row = flat(group, groups);
  if (row >= u.rows) { return; }
  let first = row * u.columns; let last = first + u.columns;
  var part = 0.0;
  for (var at = first + local; at < last; at += ${LANES}) { part += ${term}; }
  sums[local] = part;
  workgroupBarrier();
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    if (local < half) { sums[local] += sums[local + half]; }
    workgroupBarrier();
  }
  let sum = sums[0];
  for (var at = first + local; at < last; at += ${LANES}) { result[at] = ${value}; }
}`;
