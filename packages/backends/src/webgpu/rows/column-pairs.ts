/**
 * Two numbers for each column of [rows, columns], of all its rows, in one pass over memory: sums, or a mean and a variance. Blocks of rows
 * first and then the blocks, always in the same order. On a GPU the threads of a work group share a block and merge what they have as a
 * tree; on adapters that run on the CPU, where barriers are costly, a thread has a block for itself.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { type WebGPUBackend, withTemporaries } from '../backend.ts';
import { prefersTiles } from '../products/plan.ts';
import { dispatch, type Input, type Output, type Uniform } from '../recording/dispatch.ts';

const LANES = 64;
/** A thread walks no fewer rows, unless there are no more. */
const SHORTEST = 32;

/**
 * How a thread walks its rows, in WGSL of `T`, vec4f or f32. A `Pair` has the numbers `a` and `b` of `n` rows. `at` is the place of an element,
 * `column` that of its column in an input of one row.
 */
export interface Fold {
  readonly key: string;
  /** Before the first row, which is at `at`. */
  readonly begin: string;
  readonly each: string;
  /** The Pair of the `n` rows walked. */
  readonly pair: string;
  /** Statements that return the Pair of the rows of `p` and of `q`, of which either may be none. */
  readonly merge: string;
}

export interface ColumnPairs<Name extends string> {
  readonly fold: Fold;
  readonly rows: number;
  readonly columns: number;
  /** That the fold reads by name: [rows, columns] or one row. */
  readonly inputs: { readonly [name: string]: tf.TensorInfo };
  /** Rows that `finish` reads by name, at `column`. */
  readonly beside?: { readonly [name: string]: tf.TensorInfo };
  /** Results, of one row each, and their values: WGSL of `whole`, the Pair of all rows, and what `beside` names. */
  readonly results: { readonly [name in Name]: string };
  readonly uniforms?: { readonly [name: string]: Uniform };
}

/** What differs between the pass over rows and the pass over blocks. */
interface Pass<Name extends string> {
  readonly rows: number;
  readonly parts: number;
  readonly reads: { readonly [name: string]: tf.TensorInfo };
  readonly writes: { readonly [name in Name]: string };
  readonly fold: Fold;
  /** Rows that each of `rows` stands for; the last may stand for fewer. */
  readonly each: number;
}

/** Float32, [columns] each. The caller owns them. */
export function columnPairs<Name extends string>(
  backend: WebGPUBackend,
  pairs: ColumnPairs<Name>,
): { readonly [name in Name]: tf.TensorInfo } {
  const { fold, rows, inputs, beside = {}, results } = pairs;
  const plan = planOf(backend, pairs);
  const parts = plan.parts(rows);
  const over = { rows, parts, reads: inputs, writes: results, fold, each: 1 };
  if (parts === 1) return run(backend, pairs, plan, { ...over, reads: { ...inputs, ...beside } });
  return withTemporaries(backend, (temporary) => {
    const { a, b } = run(backend, pairs, plan, { ...over, writes: { a: 'whole.a', b: 'whole.b' } });
    const reads = { a: temporary(a), b: temporary(b), ...beside };
    return run(backend, pairs, plan, {
      ...{ rows: parts, parts: 1, reads, writes: results, each: Math.ceil(rows / parts) },
      fold: { ...fold, ...blocks, key: `${fold.key} blocks` },
    });
  });
}

const blocks = {
  begin: 'var known = Pair();',
  each: 'known = merge(known, Pair(f32(min(u.each, u.all - row * u.each)), a[at], b[at]));',
  pair: 'known',
};

interface Plan {
  readonly width: 1 | 4;
  /** Columns that the threads of a work group take side by side, a power of two. */
  readonly across: number;
  readonly merged: boolean;
  /** Blocks of rows, of one size but for the last. */
  parts(rows: number): number;
}

function planOf(backend: WebGPUBackend, { columns: values }: ColumnPairs<string>): Plan {
  const merged = prefersTiles(backend);
  const width = values % 4 === 0 ? 4 : 1;
  const columns = values / width;
  const across = Math.min(merged ? 16 : LANES, 2 ** Math.ceil(Math.log2(columns)));
  const [walkers, wanted] = merged ? [LANES / across, 1024 / Math.ceil(columns / across)] : [1, 512 / columns];
  return {
    ...{ width, across, merged },
    parts(rows) {
      const most = Math.max(1, Math.floor(Math.min(wanted, rows / SHORTEST / walkers)));
      return Math.ceil(rows / Math.ceil(rows / most));
    },
  };
}

function run<Name extends string>(
  backend: WebGPUBackend,
  { columns: values, rows: all, uniforms }: ColumnPairs<string>,
  plan: Plan,
  pass: Pass<Name>,
): { readonly [name in Name]: tf.TensorInfo } {
  const { width, across, merged } = plan;
  const { rows, parts, reads, writes, fold, each } = pass;
  const columns = values / width;
  const tiles = Math.ceil(columns / across);
  const type = width === 4 ? 'vec4f' : 'f32';
  const isPart = parts > 1;
  const made: Output = [{ shape: isPart ? [parts, values] : [values], dtype: 'float32' }, type];
  return dispatch(backend, {
    key: `${fold.key} ${across} ${merged} ${isPart}`,
    inputs: Object.fromEntries(Object.entries(reads).map(([name, x]) => [name, [x, type] as Input])),
    outputs: Object.fromEntries(Object.keys(writes).map((name) => [name, made])) as { [name in Name]: Output },
    uniforms: {
      ...{ rows: ['u32', rows], columns: ['u32', columns], tiles: ['u32', tiles], parts: ['u32', parts] },
      ...{ height: ['u32', Math.ceil(rows / parts)], each: ['u32', each], all: ['u32', all] },
      ...uniforms,
    },
    workgroups: tiles * (merged ? parts : Math.ceil(parts / (LANES / across))),
    code: () => code(plan, type, pass),
  });
}

function code({ across, merged }: Plan, type: string, { fold, writes }: Pass<string>): string {
  const [block, lane] = ['flat(group, groups) / u.tiles', `local / ${across}`];
  const [part, start, step] = merged ? [block, lane, LANES / across] : [`${block} * ${LANES / across} + ${lane}`, '0', 1];
  const tree = `
  pairs[local] = whole;
  workgroupBarrier();
  for (var half = ${LANES / across / 2}u; half > 0; half /= 2) {
    if (${lane} < half) { pairs[local] = merge(pairs[local], pairs[local + half * ${across}]); }
    workgroupBarrier();
  }
  whole = pairs[local];`;
  return `
alias T = ${type};
struct Pair { n: f32, a: T, b: T }
fn merge(p: Pair, q: Pair) -> Pair { ${fold.merge} }
${merged ? `var<workgroup> pairs: array<Pair, ${LANES}>;` : ''}
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let column = (flat(group, groups) % u.tiles) * ${across} + local % ${across};
  let part = ${part};
  let first = part * u.height + ${start};
  let last = min((part + 1) * u.height, u.rows);
  let mine = column < u.columns && part < u.parts;
  var whole = Pair();
  if (mine && first < last) {
    var at = first * u.columns + column;
    let n = f32((last - first + ${step - 1}) / ${step});
    ${fold.begin}
    for (var row = first; row < last; row += ${step}) { ${fold.each} at += ${step} * u.columns; }
    whole = ${fold.pair};
  }
  ${merged ? tree : ''}
  if (!mine${merged ? ` || ${lane} > 0` : ''}) { return; }
  let i = part * u.columns + column;
  ${Object.entries(writes)
    .map(([name, value]) => `${name}[i] = ${value};`)
    .join(' ')}
}`;
}
