/**
 * What the shaders of attention (attention.ts) share: heads read where they lie, tiles of scores as products through workgroup memory, the
 * product of weights with rows of values, and what a query may see. Scores are vectors of four rows, `s0_2` of the first four rows and the
 * third column, so that what is done to them is done to four; sums are vectors of four values of a row.
 */

import { addOuter, overSums, type Sums } from '../products/sums.ts';
import { type AttentionPlan, blocksOf, heightOf, memoryOf, pitchesOf, widthOf } from './attention-plan.ts';

/** What is baked into a shader. */
export interface Tiling {
  readonly plan: AttentionPlan;
  /** Values of a head, or as many as a compact plan has room for. */
  readonly size: number;
  /** Rows of a head begin at multiples of four values. */
  readonly fours: boolean;
  readonly masked: boolean;
}

/** A tensor [n, length, heads · size], and the rows of it that are met: WGSL of the place of its head's first value, and of the first row. */
export interface Rows {
  readonly name: string;
  readonly origin: string;
  readonly first: string;
}

/** Rows of queries, and of keys: uniforms of how many there are, and of the heads beside each other. */
const sides = { queries: 'u.heads', keys: 'u.kvHeads' } as const;
export type Side = keyof typeof sides;

/** What loops run to. Compilers unroll those that end at a constant, which takes long on adapters that run on the CPU; there `u.four` is 4. */
export const bounds = ({ plan, size }: Tiling): { readonly [name in 'size' | 'step' | 'width']: string | number } =>
  plan.compact ? { size: 'u.size', step: 'u.step', width: 'u.width' } : { size, step: plan.step, width: widthOf(plan) };
/** For all `k` of a step. */
const eachStep = ({ plan: { compact, step } }: Tiling, f: (j: number) => string): string =>
  compact ? `for (var k = 0u; k < u.step; k++) ${f(0)}` : `for (var k = 0u; k < ${step}; k += 4) { ${list(4, f)} }`;

const list = (count: number, f: (i: number) => string, between = ' '): string =>
  Array.from({ length: count }, (_, i) => f(i)).join(between);

/** For each vector of four rows, or each vector of scores. */
export const overRows = ({ plan }: Tiling, f: (i: number) => string): string => list(plan.rows / 4, f);
export const overScores = (tiling: Tiling, f: (i: number, c: number) => string): string => overRows(tiling, (i) => list(4, (c) => f(i, c)));

/** A sum [rows, size], by name. */
export const sumsOf = ({ plan, size }: Tiling, name: string): Sums => ({ name, rows: plan.rows, columns: 4 * blocksOf(plan, size) });

const placeOf = (tiling: Tiling, side: Side): string => `let at = origin + i * ${sides[side]} * ${bounds(tiling).size} + c;`;

/** WGSL of `read_x(origin, i, c)`: values c to c + 3 of row i; 0 outside. */
export const reader = (tiling: Tiling, name: string, side: Side): string => `
fn read_${name}(origin: u32, i: u32, c: u32) -> vec4f {
  if (i >= u.${side}) { return vec4f(); }
  ${placeOf(tiling, side)}
  ${
    tiling.fours
      ? `return ${name}[at / 4];`
      : `var value = vec4f(); for (var j = 0u; j < min(4, ${bounds(tiling).size} - c); j++) { value[j] = ${name}[at + j]; } return value;`
  }
}`;

/** WGSL of `write_y(origin, i, c, value)`, which writes nothing outside. */
export const writer = (tiling: Tiling, name: string, side: Side): string => `
fn write_${name}(origin: u32, i: u32, c: u32, value: vec4f) {
  if (i >= u.${side} || c >= ${bounds(tiling).size}) { return; }
  ${placeOf(tiling, side)}
  ${tiling.fours ? `${name}[at / 4] = value;` : `for (var j = 0u; j < min(4, ${bounds(tiling).size} - c); j++) { ${name}[at + j] = value[j]; }`}
}`;

/** All of a sum written to a tensor of its name. @param factor WGSL of what row `i` is multiplied by */
export const write = (tiling: Tiling, sums: Sums, { origin, first }: Omit<Rows, 'name'>, factor?: (row: number) => string): string =>
  overSums(sums, (sum, row, block) => {
    const value = factor ? `${sum} * ${factor(row)}` : sum;
    return `write_${sums.name}(${origin}, ${first} + ty * ${tiling.plan.rows} + ${row}, (tx + ${block * tiling.plan.across}) * 4, ${value});`;
  });

/** From -2e38, unlike from infinity, one may subtract what one likes; e to that is 0 beside a maximum that begins at `LEAST`. */
const NEVER = '-2e38';
export const LEAST = '-1e30';

/**
 * WGSL of `score(s, key, at, apart)`, and of `document(n, at)` and `documents(n, at)`. Queries go by the key that they are at. Keys of other
 * documents, and padding, are hidden by 2³⁰ times the squared distance of their numbers; a query that is padding sees what the first document
 * does, and what sees nothing by its document keeps numbers.
 */
const visibility = ({ masked }: Tiling): string => `
fn score(product: vec4f, key: vec4i, at: vec4i, apart: vec4f) -> vec4f {
  let length = vec4i(i32(u.keys));
  let hidden = (key > at + i32(u.later)) | (key <= at - i32(u.window)) | (key >= length) | (at >= length);
  return select(product * u.scale${masked ? ' - apart * apart' : ''}, vec4f(${NEVER}), hidden);
}
${
  masked
    ? `
fn document(n: u32, at: i32) -> f32 { return f32(mask[n * u.keys + u32(clamp(at, 0, i32(u.keys) - 1))]) * 32768; }
fn documents(n: u32, at: vec4i) -> vec4f { return vec4f(${list(4, (j) => `document(n, at[${j}])`, ', ')}); }`
    : ''
}
fn four(first: u32) -> vec4i { return vec4i(i32(first)) + vec4i(0, 1, 2, 3); }`;

/** The entry point. Names the thread's place in the tile `tx` and `ty`, the tile's first row `m0`, its matrix `z`. */
export function shader(tiling: Tiling, functions: readonly string[], tile: string, body: string): string {
  const { plan, size } = tiling;
  const { left, right } = memoryOf(plan, size);
  return `
var<workgroup> left: array<vec4f, ${left}>;
var<workgroup> right: array<vec4f, ${right}>;
${functions.join('')}${visibility(tiling)}
@compute @workgroup_size(${threadsOf(tiling)})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let index = flat(group, groups);
  if (index >= u.tiles * u.depth) { return; }
  let z = index % u.depth;
  let m0 = (${tile}) * ${heightOf(plan)};
  let tx = local % ${plan.across}; let ty = local / ${plan.across};
  let first = i32(u.keys) - i32(u.queries); // the key that the first query is at
  ${body}
}`;
}

const threadsOf = ({ plan: { down, across } }: Tiling): number => down * across;

/** Brings `count` rows into workgroup memory turned: vectors of four rows, a step `pitch` vectors from the next. */
function turned(tiling: Tiling, to: string, { name, origin, first }: Rows, count: number, pitch: number): string {
  const { step, compact } = tiling.plan;
  const row = (j: number | 'j'): string => `read_${name}(${origin}, ${first} + i + ${j}, c0 + c)`;
  const put = (j: number | 'j'): string => `${to}[(c + ${j}) * ${pitch} + i / 4] = block[${j}];`;
  const each = (f: string): string => `for (var j = 0u; j < u.four; j++) { ${f} }`;
  return `
    for (var t = local; t < ${count / 4} * (${bounds(tiling).step} / 4); t += ${threadsOf(tiling)}) {
      let c = (t % ${step / 4}) * 4; let i = (t / ${step / 4}) * 4; // neighbouring threads read neighbouring memory
      var block = mat4x4f(${compact ? '' : list(4, row, ', ')});
      ${compact ? each(`block[j] = ${row('j')};`) : ''}
      block = transpose(block);
      ${compact ? each(put('j')) : list(4, put)}
    }`;
}

/** `name` = rows · columnsᵀ of the tile. */
export function scores(tiling: Tiling, name: string, rows: Rows, columns: Rows): string {
  const { plan, size } = tiling;
  const pitch = pitchesOf(plan, size);
  const step = (j: number): string => `{
        ${overRows(tiling, (i) => `let a${i} = left[(k + ${j}) * ${pitch.rows} + ty * ${plan.rows / 4} + ${i}];`)}
        let b = right[(k + ${j}) * ${pitch.columns} + tx];
        ${overScores(tiling, (i, c) => `${name}${i}_${c} = fma(a${i}, vec4f(b[${c}]), ${name}${i}_${c});`)}
      }`;
  return `
  ${overScores(tiling, (i, c) => `var ${name}${i}_${c} = vec4f();`)}
  for (var c0 = 0u; c0 < ${bounds(tiling).size}; c0 += ${plan.step}) {
    ${turned(tiling, 'left', rows, heightOf(plan), pitch.rows)}
    ${turned(tiling, 'right', columns, widthOf(plan), pitch.columns)}
    workgroupBarrier();
    ${eachStep(tiling, step)}
    workgroupBarrier();
  }`;
}

/** `sums` += weights · values, of the tile's weights and the rows of `values` that lie at its columns. */
export function weigh(tiling: Tiling, sums: Sums, weights: string, { name, origin, first }: Rows): string {
  const { plan, size } = tiling;
  const pitch = pitchesOf(plan, size);
  const values = plan.compact ? '((u.size + 3) / 4)' : Math.ceil(size / 4);
  const step = (j: number): string => `{
        ${overRows(tiling, (i) => `let a${i} = left[(n + k + ${j}) * ${pitch.rows} + ty * ${plan.rows / 4} + ${i}];`)}
        ${list(blocksOf(plan, size), (block) => `let b${block} = right[(k + ${j}) * ${pitch.values} + tx + ${block * plan.across}];`)}
        ${addOuter(
          sums,
          (row) => `a${row >> 2}[${row & 3}]`,
          (block) => `b${block}`,
        )}
      }`;
  return `
  ${overScores(tiling, (i, c) => `left[(tx * 4 + ${c}) * ${pitch.rows} + ty * ${plan.rows / 4} + ${i}] = ${weights}${i}_${c};`)}
  workgroupBarrier();
  for (var n = 0u; n < ${bounds(tiling).width}; n += ${plan.step}) {
    for (var t = local; t < ${bounds(tiling).step} * ${values}; t += ${threadsOf(tiling)}) {
      let k = t / ${values}; let c = t % ${values};
      right[k * ${pitch.values} + c] = read_${name}(${origin}, ${first} + n + k, c * 4);
    }
    workgroupBarrier();
    ${eachStep(tiling, step)}
    workgroupBarrier();
  }`;
}
