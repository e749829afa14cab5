/**
 * Sums and maxima over each row, one after another, each of which may use the values before it; then a value per element, a pair per row, or both. On a
 * GPU a work group takes a row; on adapters that run on the CPU, where barriers are costly, a thread does.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGPUBackend } from '../backend.ts';
import { prefersTiles } from '../products/plan.ts';
import { dispatch, type Input, type Output, type Uniform } from '../recording/dispatch.ts';

const LANES = 64;
/** Threads of a group that take a row each. */
const FEW = 8;

/** `name` is what `value` makes of the `sum` of `term`: WGSL of `at`, an element's place, and `k`, its place in the row. */
export interface RowSum {
  readonly name: string;
  readonly term: string;
  /** @default sum */
  readonly value?: string;
  /** `sum` is the largest term. @default false */
  readonly max?: boolean;
}

export interface RowPasses {
  readonly key: string;
  readonly inputs: { readonly [name: string]: tf.TensorInfo };
  /** Of the rows, which lie along its last axis. */
  readonly shape: readonly number[];
  readonly sums: readonly RowSum[];
  /** WGSL of an element of `result`, at `at`, as in a term. @default there is no such result */
  readonly result?: string;
  /** WGSL of a vec2f for each row, [rows, 2]. @default there is no such result */
  readonly ofRow?: string;
  /** WGSL of a number for each row, [rows]. @default there is no such result */
  readonly one?: string;
  readonly uniforms?: { readonly [name: string]: Uniform };
  readonly together?: boolean;
}

/** Of float32 tensors. @returns those asked for of `result`, `ofRow` and `one`: float32, the caller owns them */
export function rowPasses(backend: WebGPUBackend, passes: RowPasses): { readonly [name: string]: tf.TensorInfo } {
  const { key, inputs, shape, result, ofRow, one, uniforms, together = prefersTiles(backend) } = passes;
  const columns = shape.at(-1) ?? 1;
  const rows = tf.util.sizeFromShape([...shape]) / Math.max(columns, 1);
  return dispatch<string>(backend, {
    key: `${key}${together ? ' together' : ''}`,
    inputs: Object.fromEntries(Object.entries(inputs).map(([name, tensor]) => [name, [tensor, 'f32'] as Input])),
    outputs: {
      ...(result !== undefined && { result: [{ shape, dtype: 'float32' }, 'f32'] as Output }),
      ...(ofRow !== undefined && { ofRow: [{ shape: [rows, 2], dtype: 'float32' }, 'vec2f'] as Output }),
      ...(one !== undefined && { one: [{ shape: [rows], dtype: 'float32' }, 'f32'] as Output }),
    },
    uniforms: { rows: ['u32', rows], columns: ['u32', columns], ...uniforms },
    workgroups: together ? rows : Math.ceil(rows / FEW),
    code: () => (together ? byGroup : byThread)(passes),
  });
}

const entry = (lanes: number, row: string): string => `@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let row = ${row};
  if (row >= u.rows) { return; }
  let first = row * u.columns; let last = first + u.columns;`;

/** Runs `each` for the elements of a row that a thread takes. */
const loop = (start: string, step: number, each: string): string =>
  `for (var at = ${start}; at < last; at += ${step}u) { let k = at - first; ${each} }`;

/** Where a maximum begins: finite, for WGSL has no infinity. */
const LEAST = '-3.402823e38';

function body(
  { sums, result, ofRow, one }: RowPasses,
  start: string,
  step: number,
  lone: string,
  whole: (part: string, max: boolean) => string,
): string {
  const lines = sums.map(({ name, term, value = 'sum', max = false }) => {
    const add = max ? `part = max(part, ${term});` : `part += ${term};`;
    return `var ${name}: f32;\n  { var part = ${max ? LEAST : '0.0'}; ${loop(start, step, add)} ${whole('part', max)} ${name} = ${value}; }`;
  });
  if (result !== undefined) lines.push(loop(start, step, `result[at] = ${result};`));
  if (ofRow !== undefined) lines.push(`if (${lone}) { ofRow[row] = ${ofRow}; }`);
  if (one !== undefined) lines.push(`if (${lone}) { one[row] = ${one}; }`);
  return lines.join('\n  ');
}

const byThread = (passes: RowPasses): string => `
${entry(FEW, `flat(group, groups) * ${FEW} + local`)}
  ${body(passes, 'first', 1, 'true', (part) => `let sum = ${part};`)}
}`;

const gather = (name: string, both: string): string => `
fn ${name}(part: f32, local: u32) -> f32 {
  parts[local] = part;
  workgroupBarrier();
  for (var half = ${LANES / 2}u; half > 0; half /= 2) {
    if (local < half) { let a = parts[local]; let b = parts[local + half]; parts[local] = ${both}; }
    workgroupBarrier();
  }
  let sum = parts[0];
  workgroupBarrier();
  return sum;
}`;

const byGroup = (passes: RowPasses): string => `
var<workgroup> parts: array<f32, ${LANES}>;
${gather('gather', 'a + b')}
${passes.sums.some(({ max }) => max) ? gather('largest', 'max(a, b)') : ''}
${entry(LANES, 'flat(group, groups)')}
  ${body(passes, 'first + local', LANES, 'local == 0', (part, max) => `let sum = ${max ? 'largest' : 'gather'}(${part}, local);`)}
}`;
