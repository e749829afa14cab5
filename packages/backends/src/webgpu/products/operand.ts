/**
 * Operands of a product (product.ts), in WGSL. One lies in `rows` (each m or n is a run along k) or in `columns` (each k is a run along m or
 * n). Either way it is read in blocks of 4 x 4, turned in registers, so all transposes meet the same inner loop.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { HalfType } from '../../half.ts';
import type { TableRow } from '../../tables.ts';
import { readFours } from './packed-row.ts';

/** The shader sees `row`, what `place` made of m (or n) and z once, and the segment `s`. */
interface Rows {
  readonly form: 'rows';
  /** WGSL from `i` (m or n) and `z` to a vec4i that `offset` understands. */
  readonly place: string;
  /** WGSL from `row` and `s` to where element k = 0 is, an i32; negative: all its values are 0, and none is read. */
  readonly offset: string;
}
interface Columns {
  readonly form: 'columns';
  /** WGSL from `s` and `z` to a vec2u: where element (i = 0, k = 0) is, and the step from one k to the next. */
  readonly place: string;
}
export type Operand = (Rows | Columns) & {
  readonly tensor: tf.TensorInfo;
  /** Every run begins at a multiple of four elements and is a multiple of four long. */
  readonly aligned: boolean;
  /** Of a frozen table: how its rows are packed. The tensor then has the shape of what they stand for. */
  readonly row?: TableRow | undefined;
};

/** How the values of an operand lie in its buffer. 'native': float16, read as such, which needs shader-f16. 'packed': by its `row`. */
export type Format = 'float32' | 'native' | 'packed' | HalfType;
/** What a block is made of: float32 or float16. */
export type Scalar = 'f' | 'h';

const elements: { readonly [format in Format]: readonly [one: string, four: string] } = {
  float32: ['f32', 'vec4f'],
  native: ['f16', 'vec4h'],
  float16: ['u32', 'vec2u'],
  bfloat16: ['u32', 'vec2u'],
  packed: ['u32', 'u32'],
};
/** An element of the operand's binding. */
export const elementOf = (format: Format, aligned: boolean): string => elements[format][aligned ? 1 : 0];

/** WGSL of element `i`, and of the four from `4 i`, each of its binding's type or, from packed words, float32. */
interface Access {
  one(i: string): string;
  four(i: string): string;
  readonly functions?: string;
}

const access: { readonly [format in Format]: (name: string, row?: TableRow) => Access } = {
  float32: (name) => ({ one: (i) => `${name}[${i}]`, four: (i) => `${name}[${i}]` }),
  native: (name) => ({ one: (i) => `${name}[${i}]`, four: (i) => `${name}[${i}]` }),
  float16: (name) => ({
    one: (i) => `one_${name}(${i})`,
    four: (i) => `four_${name}(${name}[${i}])`,
    functions: `
fn one_${name}(i: u32) -> f32 { return unpack2x16float(u32(${name}[i / 2]) >> (16 * (i & 1))).x; }
fn four_${name}(w: vec2u) -> vec4f { return vec4f(unpack2x16float(w.x), unpack2x16float(w.y)); }`,
  }),
  bfloat16: (name) => ({
    one: (i) => `one_${name}(${i})`,
    four: (i) => `four_${name}(${name}[${i}])`,
    functions: `
fn one_${name}(i: u32) -> f32 { return bitcast<f32>((${name}[i / 2] >> (16 * (i & 1))) << 16); }
fn four_${name}(w: vec2u) -> vec4f { return bitcast<vec4f>(vec4u(w.x << 16, w.x & 0xffff0000, w.y << 16, w.y & 0xffff0000)); }`,
  }),
  packed: (name, row) => ({
    one: (i) => `four_${name}((${i}) / 4)[(${i}) % 4]`,
    four: (i) => `four_${name}(${i})`,
    functions: readFours(name, row!),
  }),
};

interface Reading {
  readonly format: Format;
  readonly scalar: Scalar;
  readonly exact: boolean;
  /** By `rounded1` and `rounded4`. */
  readonly rounds: boolean;
  /** Read by lines, a thread its own, and not by blocks. @default false */
  readonly lines?: boolean;
}

/**
 * The functions `placeX` or `rowX` and `offsetX` (where a segment's block begins) and `load_x`: column j of its result holds the block's four
 * rows at k + j. Or `line_x`, of one row: k to k + 3.
 */
export function operandCode(name: 'a' | 'b', operand: Operand, { format, scalar, exact, rounds, lines = false }: Reading): string {
  const { aligned, row, ...at } = operand;
  const size = name === 'a' ? 'u.m' : 'u.n';
  const [vector, matrix, zero] = [`vec4${scalar}`, `mat4x4${scalar}`, scalar === 'f' ? '0.0' : '0.0h'];
  const found = access[format](name, row);
  const near = (function_: string, value: string): string => (rounds ? `${function_}(${value})` : value);
  const read = { ...found, one: (i: string) => near('rounded1', found.one(i)), four: (i: string) => near('rounded4', found.four(i)) };
  const as = (type: string, value: string): string => ((format === 'native') === (scalar === 'h') ? value : `${type}(${value})`);
  const one = (i: string): string => as(scalar === 'f' ? 'f32' : 'f16', read.one(i));
  const four = (i: string): string => as(vector, read.four(`(${i}) / 4`));
  const each = (f: (i: number) => string): string => [0, 1, 2, 3].map(f).join(', ');
  const inside = (j: number, value: string, none: string): string => (exact ? value : `select(${none}, ${value}, k + ${j} < length)`);
  const last = (j: number): string => (exact ? `k + ${j}` : `min(k + ${j}, length - 1)`);
  const functions = aligned ? read.functions?.replace(/fn one.*/, '') : read.functions?.replace(/fn four.*/, '');
  if (at.form === 'columns') {
    const run = (j: number): string => {
      const start = `at.x + (${last(j)}) * at.y`;
      const value = aligned
        ? four(`${start} + min(i, ${size} - 4)`)
        : `${vector}(${each((c) => one(`${start} + min(i + ${c}, ${size} - 1)`))})`;
      return inside(j, value, `${vector}()`);
    };
    const value = (j: number): string => inside(j, one(`at.x + (${last(j)}) * at.y + min(i, ${size} - 1)`), zero);
    return `${functions ?? ''}
fn place_${name}(s: u32, z: u32) -> vec2u { return ${at.place}; }
${
  lines
    ? `fn line_${name}(at: vec2u, i: u32, k: u32, length: u32) -> ${vector} { return ${vector}(${each(value)}); }`
    : `fn load_${name}(at: vec2u, i: u32, k: u32, length: u32) -> ${matrix} { return ${matrix}(${each(run)}); }`
}`;
  }
  // A row that is not there is read at the buffer's beginning and then zeroed; a row beyond the last repeats it and is not stored.
  const run = (at: string): string => {
    const start = `u32(max(${at}, 0))`;
    const value = aligned ? four(`${start} + k`) : `${vector}(${each((j) => inside(j, one(`${start} + ${last(j)}`), zero))})`;
    return `select(${vector}(), ${value}, ${at} >= 0)`;
  };
  return `${functions ?? ''}
fn row_${name}(index: u32, z: u32) -> vec4i { let i = min(index, ${size} - 1); return ${at.place}; }
fn offset_${name}(row: vec4i, s: u32) -> i32 { return ${at.offset}; }
${
  lines
    ? `fn line_${name}(at: i32, k: u32, length: u32) -> ${vector} { return ${run('at')}; }`
    : `fn load_${name}(at: vec4i, k: u32, length: u32) -> ${matrix} { return transpose(${matrix}(${each((i) => run(`at[${i}]`))})); }`
}`;
}

const four = (f: (i: number) => string): string[] => [0, 1, 2, 3].map(f);

/** Statements that prepare blocks of the operand whose first row or column is `first`, named by `tag`: once a workgroup, and once a segment. */
export function blockAt(
  name: 'a' | 'b',
  { form }: Operand,
  first: string,
  tag: string,
): { before: string; segment: string; load: (k: string) => string } {
  if (form === 'columns')
    return {
      before: '',
      segment: `let ${tag}_at = place_${name}(s, z);`,
      load: (k: string) => `load_${name}(${tag}_at, ${first}, ${k}, length)`,
    };
  return {
    before: four((i) => `let ${tag}_row${i} = row_${name}(${first} + ${i}, z);`).join(' '),
    segment: `let ${tag}_at = vec4i(${four((i) => `offset_${name}(${tag}_row${i}, s)`).join(', ')});`,
    load: (k: string) => `load_${name}(${tag}_at, ${k}, length)`,
  };
}

/** The same for a line of the operand: the row or column that is `index`. */
export function lineAt(name: 'a' | 'b', { form }: Operand, index: string, tag: string): ReturnType<typeof blockAt> {
  if (form === 'columns')
    return {
      before: '',
      segment: `let ${tag}_at = place_${name}(s, z);`,
      load: (k) => `line_${name}(${tag}_at, ${index}, ${k}, length)`,
    };
  return {
    before: `let ${tag}_row = row_${name}(${index}, z);`,
    segment: `let ${tag}_at = offset_${name}(${tag}_row, s);`,
    load: (k) => `line_${name}(${tag}_at, ${k}, length)`,
  };
}
