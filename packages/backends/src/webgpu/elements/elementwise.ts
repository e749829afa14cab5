/**
 * Values that depend on one element of each input, four at a time where the last axes allow it. An input that is broadcast is read where it
 * lies, at (i / each) mod period: a row (a bias), a column (the mean of a row), a block between, or one number, which goes to the GPU with
 * the uniforms where it is on the CPU. tfjs finds the coordinates of every element instead.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { HalfType } from '../../half.ts';
import type { WebGPUBackend } from '../backend.ts';
import { roundings } from '../halves/half-casts.ts';
import { dispatch, type Input, type Uniform } from '../recording/dispatch.ts';

const LANES = 64;
/** Rows of the result that a thread makes, where it reads rows. */
const RUN = 8;

export interface Elementwise {
  readonly key: string;
  readonly inputs: { readonly [name: string]: tf.TensorInfo };
  readonly shape: readonly number[];
  /** @default 'float32' */
  readonly dtype?: 'float32' | 'bool';
  /** WGSL of the result from the inputs' names, numbers of `uniforms` as `u.name`, and `T`: vec4f or f32. bool inputs are vec4<bool> or bool. */
  readonly value: string;
  readonly uniforms?: { readonly [name: string]: Uniform };
  /** WGSL that `value` calls, of `T`; told apart by `key`. */
  readonly functions?: string;
  /** The result is rounded to it. @default it is not */
  readonly half?: HalfType | undefined;
}

/** The element of an input that the i-th of the output reads is (i / each) mod period. */
interface Layout {
  readonly each: number;
  readonly period: number;
}

/** Undefined where the axes that `shape` has of `out` are not neighbours. */
function layoutOf(shape: readonly number[], out: readonly number[]): Layout | undefined {
  const padded = [...out.slice(shape.length).fill(1), ...shape];
  const axes = out.flatMap((size, axis) => (size === 1 ? [] : [axis]));
  const own = axes.filter((axis) => padded[axis] !== 1);
  const first = axes.indexOf(own[0] ?? -1);
  if (own.some((axis, i) => axis !== axes[first + i])) return undefined;
  const after = own.length === 0 ? axes : axes.slice(first + own.length);
  const sizeOf = (list: readonly number[]): number => list.reduce((n, axis) => n * out[axis]!, 1);
  return { each: sizeOf(after), period: sizeOf(own) };
}

/** Whether `elementwise` can take them: of float32, int32 and bool, broadcast along neighbouring axes. */
export const areElementwise = (inputs: readonly tf.TensorInfo[], shape: readonly number[]): boolean =>
  inputs.every((x) => x.dtype in typesOf && layoutOf(x.shape, shape) !== undefined) &&
  (inputs.every((x) => tf.util.sizeFromShape(x.shape) > 0) || tf.util.sizeFromShape([...shape]) === 0);

/** An input as the shader reads it. */
interface Read {
  /** `let name = …`, at `i` or `column`. */
  readonly declare: string;
  /** The same for all rows that a thread makes. */
  readonly once: boolean;
  readonly binding?: readonly [name: string, Input];
  readonly uniforms: { readonly [name: string]: Uniform };
}

interface Place extends Layout {
  readonly name: string;
  readonly x: tf.TensorInfo;
  /** The number that it is, where it is on the CPU. */
  readonly number: number | undefined;
}

/** The caller owns the result. */
export function elementwise(backend: WebGPUBackend, program: Elementwise): tf.TensorInfo {
  const { key, inputs, shape, dtype = 'float32', uniforms, functions = '', half } = program;
  const size = tf.util.sizeFromShape([...shape]);
  const places = Object.entries(inputs).map(([name, x]) => ({ name, x, number: numberOf(backend, x), ...layoutOf(x.shape, shape)! }));
  const inFours = places.every(({ each, period }) => each % 4 === 0 || (each === 1 && period % 4 === 0));
  const width = size % 4 === 0 && inFours ? 4 : 1;
  const value = half ? `rounded${width}(${program.value})` : program.value;
  const columns = rowOf(places, size) / width;
  const overRows = columns > 1; // a thread reads its column of the rows once, for several rows of the result
  const reads = places.map((place) => readOf(place, size, width, overRows));
  const threads = overRows ? Math.ceil(size / width / columns / RUN) * columns : size / width;
  const lets = (once: boolean): string => reads.flatMap((read) => (read.once === once ? [read.declare] : [])).join(' ');
  const [first, each] = [lets(true), lets(false)];
  const type = typesOf[dtype]![width === 4 ? 1 : 0];
  return dispatch(backend, {
    key: `${key} ${overRows} ${first} ${each} ${value} ${half ?? ''}`,
    inputs: Object.fromEntries(reads.flatMap(({ binding }) => (binding ? [binding] : []))),
    outputs: { result: [{ shape, dtype }, type] },
    uniforms: {
      size: ['u32', size / width],
      threads: ['u32', threads],
      columns: ['u32', Math.max(1, columns)],
      ...uniforms,
      ...Object.assign({}, ...reads.map((read) => read.uniforms)),
    },
    workgroups: Math.ceil(threads / LANES),
    code: () => `
alias T = ${width === 4 ? 'vec4f' : 'f32'};
${half ? roundings(half) : ''}
${functions}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = flat(group, groups) * ${LANES} + local;
  if (thread >= u.threads) { return; }
  ${(overRows ? severalRows : oneElement)(first, each, `${type}(${value})`)}
}`,
  }).result;
}

/** In WGSL, an element and four of them. */
const typesOf: { readonly [dtype: string]: readonly [one: string, four: string] } = {
  float32: ['f32', 'vec4f'],
  int32: ['i32', 'vec4i'],
  bool: ['i32', 'vec4i'],
};

/** The length of the one row that all inputs are which are neither whole nor one number; else 0. */
function rowOf(places: readonly Place[], size: number): number {
  const parts = places.filter(({ each, period, number }) => number === undefined && period > 1 && each * period < size);
  const row = parts[0]?.period ?? 0;
  return parts.every(({ each, period }) => each === 1 && period === row) ? row : 0;
}

function readOf({ name, x, number, each, period }: Place, size: number, width: number, overRows: boolean): Read {
  if (number !== undefined) return { once: true, declare: `let ${name} = T(u.${name}_);`, uniforms: { [`${name}_`]: ['f32', number] } };
  const whole = each * period === size;
  const fours = each === 1 && width === 4;
  const turns = period > 1 && !whole && !overRows;
  const place = each === 1 ? 'i' : `(i / u.${name}Each)`;
  const at = period === 1 ? '0' : turns ? `${place} % u.${name}Period` : whole ? place : 'column';
  const element = `${name}_[${at}]`;
  const as = x.dtype !== 'bool' ? `T(${element})` : width === 4 ? `vec4<bool>(vec4i(${element}))` : `bool(${element})`;
  return {
    once: !whole,
    declare: `let ${name} = ${as};`,
    binding: [`${name}_`, [x, typesOf[x.dtype]![fours ? 1 : 0]]],
    uniforms: {
      ...(each > 1 && period > 1 && { [`${name}Each`]: ['u32', each / width] as const }),
      ...(turns && { [`${name}Period`]: ['u32', fours ? period / 4 : period] as const }),
    },
  };
}

const oneElement = (first: string, each: string, value: string): string => `let i = thread; ${first} ${each} result[i] = ${value};`;

const severalRows = (first: string, each: string, value: string): string => `
  let column = thread % u.columns;
  ${first}
  let start = (thread / u.columns) * u.columns * ${RUN} + column;
  for (var i = start; i < min(start + u.columns * ${RUN}, u.size); i += u.columns) { ${each} result[i] = ${value}; }`;

/** What a tensor of one element that is not on the GPU holds. */
function numberOf(backend: WebGPUBackend, { dataId, dtype, shape }: tf.TensorInfo): number | undefined {
  const { values, resource } = backend.tensorMap.get(dataId);
  if (dtype !== 'float32' || resource || !values || tf.util.sizeFromShape(shape) !== 1) return undefined;
  return values[0] as number;
}
