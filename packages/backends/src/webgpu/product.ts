/**
 * One generator for every product of matrices: matMul in its four transposes, a convolution and both of its gradients.
 *
 *     c[z][m, n] = activation(sum over segments s of z, and k < length(s), of a_s[m, k] · b_s[k, n] + bias[n])
 *
 * A segment is a stretch of the inner axis over which both operands lie regularly: a chunk of K for matMul, a tap of the filter for a
 * convolution, a row of pixels for its filter gradient. An operand lies in `rows` (each m or n is a run along k) or in `columns` (each k
 * is a run along m or n). Either way it is read in blocks of 4 x 4, turned in registers, so all transposes meet the same inner loop: eight
 * rows by four columns a thread, in named accumulators; four rows on SwiftShader, which compiles eight for minutes.
 *
 * Two forms. `tiles`: 64 x 64 x 16 through padded workgroup memory, for GPUs. Without: each thread reads for itself, which adapters that
 * run on the CPU prefer, for barriers are costly and caches are large there; the rows come from the workgroup's id, so reads of `a` are
 * uniform. Sums are in a fixed order in both: the same input gives the same bits.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { activate } from './activation.ts';
import type { WebGPUBackend } from './backend.ts';
import { dispatch, type Uniform } from './dispatch.ts';

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
};

export interface Product {
  readonly key: string;
  readonly a: Operand;
  readonly b: Operand;
  /** Rows and columns of c, and how many such there are. */
  readonly m: number;
  readonly n: number;
  readonly depth: number;
  /** WGSL from `z` to a vec2u: its first segment, and the one after its last. */
  readonly segments: string;
  /** WGSL from `s` and `z` to the length of a segment, a u32. */
  readonly length: string;
  /** All lengths are multiples of four. */
  readonly exact: boolean;
  /** WGSL from `m` and `z` to where c's row begins, an i32; negative: it is not written. @default rows one after the other */
  readonly store?: string;
  readonly output: { readonly shape: readonly number[]; readonly dtype: tf.DataType };
  readonly uniforms: { readonly [name: string]: Uniform };
  readonly functions?: string;
  /** One value a column. */
  readonly bias?: tf.TensorInfo | undefined;
  readonly activation?: string | undefined;
  readonly alpha?: number;
}

const ROWS = 8;
const COLUMNS = 4;
/** Threads along n of the form without tiles: one vector of the CPU. */
const LANES = 8;
const TILE = 64;
const STEP = 16;
/** Of the rows of a tile in workgroup memory, in vec4f; padded, so that columns fall on different banks. */
const PITCH = TILE / 4 + 1;

/** Whether the device is a GPU, and not a program on the CPU. */
export function prefersTiles({ device }: WebGPUBackend): boolean {
  const { adapterInfo } = device as { adapterInfo?: { isFallbackAdapter?: boolean; description?: string; architecture?: string } };
  return !(
    adapterInfo?.isFallbackAdapter || /llvmpipe|swiftshader|software/i.test(`${adapterInfo?.description} ${adapterInfo?.architecture}`)
  );
}

/** Rows of c that a thread sums. */
const rowsPerThread = ({ device }: WebGPUBackend): number =>
  (device as { adapterInfo?: { architecture?: string } }).adapterInfo?.architecture === 'swiftshader' ? ROWS / 2 : ROWS;

/** Work groups that keep the device busy. */
export const enoughGroups = (tiles: boolean): number => (tiles ? 256 : 16);
export const groupsOf = (m: number, n: number, tiles: boolean): number =>
  tiles ? Math.ceil(m / TILE) * Math.ceil(n / TILE) : Math.ceil(m / ROWS) * Math.ceil(n / (LANES * COLUMNS));

/** Records the product. The caller owns the result. */
export function multiply(backend: WebGPUBackend, product: Product, tiles: boolean = prefersTiles(backend)): tf.TensorInfo {
  const { a, b, m, n, depth, output, bias, uniforms, alpha = 0 } = product;
  const tilesN = Math.ceil(n / (tiles ? TILE : LANES * COLUMNS));
  const rows = rowsPerThread(backend);
  const tilesM = Math.ceil(m / (tiles ? TILE : rows));
  const element = (aligned: boolean): string => (aligned ? 'vec4f' : 'f32');
  const whole = n % 4 === 0;
  const forms = `${tiles ? 'tiles' : 'direct'}${a.form}${b.form}${product.exact}${bias ? 'bias' : ''}${product.activation ?? ''}`;
  return dispatch(backend, {
    key: `${product.key}${forms}`,
    inputs: {
      a: [a.tensor, element(a.aligned)],
      b: [b.tensor, element(b.aligned)],
      ...(bias && { bias: [bias, element(whole)] as const }),
    },
    outputs: { c: [output, element(whole)] },
    uniforms: {
      m: ['u32', m],
      n: ['u32', n],
      tilesM: ['u32', tilesM],
      tilesN: ['u32', tilesN],
      depth: ['u32', depth],
      alpha: ['f32', alpha],
      ...uniforms,
    },
    workgroups: tilesM * tilesN * depth,
    code: () =>
      [
        product.functions ?? '',
        operand('a', a, product.exact),
        operand('b', b, product.exact),
        shared(product, whole),
        tiles ? tiled(product) : direct(product, rows),
      ].join('\n'),
  }).c;
}

/** `placeX`, `rowsX` (where a segment's block begins) and `loadX`: column j of the result holds the block's four rows at k + j. */
function operand(name: 'a' | 'b', { aligned, ...at }: Operand, exact: boolean): string {
  const size = name === 'a' ? 'u.m' : 'u.n';
  const each = (f: (i: number) => string): string => [0, 1, 2, 3].map(f).join(', ');
  const inside = (j: number, value: string, zero: string): string => (exact ? value : `select(${zero}, ${value}, k + ${j} < length)`);
  const at4 = (index: string): string => `${name}[(${index}) / 4]`;
  const last = (j: number): string => (exact ? `k + ${j}` : `min(k + ${j}, length - 1)`);
  if (at.form === 'columns') {
    const run = (j: number): string => {
      const start = `at.x + (${last(j)}) * at.y`;
      const value = aligned
        ? at4(`${start} + min(i, ${size} - 4)`)
        : `vec4f(${each((c) => `${name}[${start} + min(i + ${c}, ${size} - 1)]`)})`;
      return inside(j, value, 'vec4f()');
    };
    return `
fn place_${name}(s: u32, z: u32) -> vec2u { return ${at.place}; }
fn load_${name}(at: vec2u, i: u32, k: u32, length: u32) -> mat4x4f { return mat4x4f(${each(run)}); }`;
  }
  // A row that is not there is read at the buffer's beginning and then zeroed; a row beyond the last repeats it and is not stored.
  const run = (i: number): string => {
    const start = `u32(max(at[${i}], 0))`;
    const value = aligned ? at4(`${start} + k`) : `vec4f(${each((j) => inside(j, `${name}[${start} + ${last(j)}]`, '0.0'))})`;
    return `select(vec4f(), ${value}, at[${i}] >= 0)`;
  };
  return `
fn row_${name}(index: u32, z: u32) -> vec4i { let i = min(index, ${size} - 1); return ${at.place}; }
fn offset_${name}(row: vec4i, s: u32) -> i32 { return ${at.offset}; }
fn load_${name}(at: vec4i, k: u32, length: u32) -> mat4x4f { return transpose(mat4x4f(${each(run)})); }`;
}

function shared({ segments, length, store, bias, activation }: Product, whole: boolean): string {
  const each = (f: (i: number) => string): string => [0, 1, 2, 3].map(f).join(' ');
  const biased = whole ? 'bias[n / 4]' : `vec4f(${[0, 1, 2, 3].map((i) => `bias[min(n + ${i}, u.n - 1)]`).join(', ')})`;
  return `
fn segments(z: u32) -> vec2u { return ${segments}; }
fn lengthOf(s: u32, z: u32) -> u32 { return ${length}; }
fn store(m: u32, z: u32) -> i32 { return ${store ?? 'i32((z * u.m + m) * u.n)'}; }
${activate(activation)}
fn put(m: u32, n: u32, z: u32, sum: vec4f) {
  if (m >= u.m || n >= u.n) { return; }
  let start = store(m, z);
  if (start < 0) { return; }
  let value = activate(sum${bias ? ` + ${biased}` : ''});
  let at = u32(start) + n;
  ${whole ? 'c[at / 4] = value;' : each((i) => `if (n + ${i} < u.n) { c[at + ${i}] = value[${i}]; }`)}
}`;
}

const sums = (rows: number, of: (i: number) => string): string => Array.from({ length: rows }, (_, i) => of(i)).join(' ');
/** Adds the outer products of four columns of a with rows of b. `a` names a block of four rows at k + j. */
const outer = (rows: number, a: (j: number, block: number) => string, b: (j: number) => string): string =>
  [0, 1, 2, 3].map((j) => sums(rows, (i) => `acc${i} = fma(vec4f(${a(j, i >> 2)}[${i & 3}]), ${b(j)}, acc${i});`)).join('\n      ');
const declareSums = (rows: number): string => sums(rows, (i) => `var acc${i} = vec4f();`);
const putAll = (rows: number): string => sums(rows, (i) => `put(m0 + ${i}, n0, z, acc${i});`);
const position = `
  let index = flat(group, groups);
  let tileN = index % u.tilesN; let tileM = (index / u.tilesN) % u.tilesM; let z = index / (u.tilesN * u.tilesM);`;

const blockRows = (name: string, first: string, rows: string): string =>
  [0, 1, 2, 3].map((i) => `let ${rows}${i} = row_${name}(${first} + ${i}, z);`).join(' ');
const blockAt = (name: string, rows: string): string => `vec4i(${[0, 1, 2, 3].map((i) => `offset_${name}(${rows}${i}, s)`).join(', ')})`;

function direct({ a, b }: Product, rows: number): string {
  const blocks = [0, 1].slice(0, rows / 4);
  const places = a.form === 'rows' ? blocks.map((i) => blockRows('a', `m0 + ${4 * i}`, `a${i}row`)) : [];
  const atA = a.form === 'rows' ? blocks.map((i) => `let at${i} = ${blockAt('a', `a${i}row`)};`).join(' ') : 'let at = place_a(s, z);';
  const loadA = blocks.map(
    (i) => `let a${i} = ${a.form === 'rows' ? `load_a(at${i}, k, length)` : `load_a(at, m0 + ${4 * i}, k, length)`};`,
  );
  const atB = b.form === 'rows' ? blockAt('b', 'brow') : 'place_b(s, z)';
  const loadB = b.form === 'rows' ? 'load_b(atB, k, length)' : 'load_b(atB, n0, k, length)';
  const absent = blocks.map((i) => `all(at${i} < vec4i())`).join(' && ');
  return `
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  ${position}
  if (z >= u.depth) { return; }
  let m0 = tileM * ${rows}; let n0 = (tileN * ${LANES} + local) * ${COLUMNS};
  ${places.join('\n  ')}
  ${b.form === 'rows' ? blockRows('b', 'n0', 'brow') : ''}
  ${declareSums(rows)}
  let range = segments(z);
  for (var s = range.x; s < range.y; s++) {
    let length = lengthOf(s, z);
    ${atA}
    ${a.form === 'rows' ? `if (${absent}) { continue; }` : ''}
    let atB = ${atB};
    for (var k = 0u; k < length; k += 4) {
      ${loadA.join(' ')}
      let b0 = ${loadB};
      ${outer(
        rows,
        (j, block) => `a${block}[${j}]`,
        (j) => `b0[${j}]`,
      )}
    }
  }
  ${putAll(rows)}
}`;
}

function tiled({ a, b }: Product): string {
  const loader = (name: 'a' | 'b', { form }: Operand): { block: string; before: string; at: string; load: string } => {
    // Neighbouring threads read neighbouring memory.
    const along = `${name}_t % ${TILE / 4}`;
    const block =
      form === 'rows'
        ? `let ${name}_k = (${name}_t % ${STEP / 4}) * 4; let ${name}_i = (${name}_t / ${STEP / 4}) * 4;`
        : `let ${name}_i = (${along}) * 4; let ${name}_k = (${name}_t / ${TILE / 4}) * 4;`;
    const first = `tile${name === 'a' ? 'M' : 'N'} * ${TILE} + ${name}_i`;
    const load = form === 'rows' ? `load_${name}(${name}_at, k, length)` : `load_${name}(${name}_at, ${first}, k, length)`;
    return {
      block: `let ${name}_t = local % 64; ${block}`,
      before: form === 'rows' ? blockRows(name, first, `${name}_row`) : '',
      at: `let ${name}_at = ${form === 'rows' ? blockAt(name, `${name}_row`) : `place_${name}(s, z)`};`,
      load,
    };
  };
  const [loadA, loadB] = [loader('a', a), loader('b', b)];
  const stage = (name: 'a' | 'b', tile: string, load: string): string => `
        let k = k0 + ${name}_k;
        var block = mat4x4f();
        if (k < length) { block = ${load}; }
        ${[0, 1, 2, 3].map((j) => `${tile}[(${name}_k + ${j}) * ${PITCH} + ${name}_i / 4] = block[${j}];`).join(' ')}`;
  return `
var<workgroup> tileA: array<vec4f, ${STEP * PITCH}>;
var<workgroup> tileB: array<vec4f, ${STEP * PITCH}>;
@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  ${position}
  if (z >= u.depth) { return; }
  let tx = local % 16; let ty = local / 16;
  let m0 = tileM * ${TILE} + ty * ${ROWS}; let n0 = tileN * ${TILE} + tx * ${COLUMNS};
  ${loadA.block} ${loadB.block}
  ${loadA.before}
  ${loadB.before}
  ${declareSums(ROWS)}
  let range = segments(z);
  for (var s = range.x; s < range.y; s++) {
    let length = lengthOf(s, z);
    ${loadA.at} ${loadB.at}
    for (var k0 = 0u; k0 < length; k0 += ${STEP}) {
      if (local < 64) {${stage('a', 'tileA', loadA.load)}
      } else {${stage('b', 'tileB', loadB.load)}
      }
      workgroupBarrier();
      for (var k = 0u; k < ${STEP}; k += 4) {
        ${[0, 1, 2, 3].map((j) => `let a${j}0 = tileA[(k + ${j}) * ${PITCH} + ty * 2]; let a${j}1 = tileA[(k + ${j}) * ${PITCH} + ty * 2 + 1]; let b${j} = tileB[(k + ${j}) * ${PITCH} + tx];`).join('\n        ')}
      ${outer(
        ROWS,
        (j, half) => `a${j}${half}`,
        (j) => `b${j}`,
      )}
      }
      workgroupBarrier();
    }
  }
  ${putAll(ROWS)}
}`;
}
