/**
 * One generator for every product of matrices: matMul in its four transposes, a convolution and both of its gradients.
 *
 *     c[z][m, n] = activation(sum over segments s of z, and k < length(s), of a_s[m, k] · b_s[k, n] + bias[n])
 *
 * A segment is a stretch of the inner axis over which both operands lie regularly: a chunk of K for matMul, a tap of the filter for a
 * convolution, a row of pixels for its filter gradient. Operands are float32, or halves as `encodeHalf` packs them; sums are float32, in a
 * fixed order: the same input gives the same bits. How operands are read is in operand.ts, who sums what in direct.ts, tiles.ts and matrices.ts.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { type WebGPUBackend, withTemporaries } from '../backend.ts';
import { halfOf } from '../halves/carrier.ts';
import { roundings } from '../halves/half-casts.ts';
import { halfUnits } from '../halves/half-units.ts';
import { dispatch, type Uniform } from '../recording/dispatch.ts';
import { sumColumns } from '../rows/sum-columns.ts';
import { activate } from './activation.ts';
import { direct } from './direct.ts';
import { matrices } from './matrices.ts';
import { elementOf, type Format, type Operand, operandCode, type Scalar } from './operand.ts';
import { keyOf } from './packed-row.ts';
import { type Plan, type Rounding, tileOf } from './plan.ts';
import { tiled } from './tiles.ts';

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

/** Records the product. The caller owns the result. */
export function multiply(backend: WebGPUBackend, product: Product, plan: Plan, rounding?: Rounding): tf.TensorInfo {
  const { b, m, n, depth, output, bias, activation, uniforms, alpha = 0, exact } = product;
  const lines = plan.kind === 'direct' && plan.shares === true;
  const a = lines && product.a.form === 'columns' ? { ...product.a, aligned: false } : product.a; // of which a line has no run of four
  const [tileM, tileN] = tileOf(plan);
  const [tilesM, tilesN] = [Math.ceil(m / tileM), Math.ceil(n / tileN)];
  const whole = n % 4 === 0;
  const formats = [formatOf(backend, a), formatOf(backend, b)] as const;
  const sizes = { m, n, tilesM, tilesN, depth };
  const rounds = (operand: 'a' | 'b'): boolean => rounding?.[operand] === true && !(scalarOf(plan) === 'h' && halfUnits(backend).casts);
  const roundingKey = rounding ? [rounding.half, rounds('a'), rounds('b'), rounding.c === true] : [];
  return dispatch(backend, {
    key: [
      product.key,
      JSON.stringify(plan),
      a.form,
      b.form,
      formats,
      b.row && keyOf(b.row),
      exact,
      bias && 'bias',
      activation,
      ...roundingKey,
    ].join(' '),
    enable: extensions(plan, formats),
    inputs: {
      a: [a.tensor, elementOf(formats[0], a.aligned)],
      b: [b.tensor, elementOf(formats[1], b.aligned)],
      ...(bias && { bias: [bias, whole ? 'vec4f' : 'f32'] as const }),
    },
    outputs: { c: [output, whole ? 'vec4f' : 'f32'] },
    uniforms: { ...counts(sizes), alpha: ['f32', alpha], ...uniforms },
    workgroups: tilesM * tilesN * depth,
    code: () =>
      [
        product.functions ?? '',
        rounding ? roundings(rounding.half) : '',
        operandCode('a', a, { format: formats[0], scalar: scalarOf(plan), exact, rounds: rounds('a'), lines }),
        operandCode('b', b, { format: formats[1], scalar: scalarOf(plan), exact, rounds: rounds('b') }),
        shared(product, whole, rounding?.c === true),
        plan.kind === 'direct' ? direct(a, b, plan) : plan.kind === 'tiles' ? tiled(a, b, plan) : matrices(a, b, plan),
      ].join('\n'),
  }).c;
}

const counts = (sizes: { readonly [name: string]: number }): { readonly [name: string]: Uniform } =>
  Object.fromEntries(Object.entries(sizes).map(([name, size]) => [name, ['u32', size]]));

/** The product, where its depth holds every sum in `pieces`, which are added after: without atomics, so in the same order each time. */
export function multiplyInPieces(
  backend: WebGPUBackend,
  product: Omit<Product, 'output'>,
  { pieces, shape, plan, rounding }: { pieces: number; shape: readonly number[]; plan: Plan; rounding?: Rounding | undefined },
): tf.TensorInfo {
  const output = { shape: pieces === 1 ? shape : [pieces, ...shape], dtype: 'float32' as const };
  if (pieces === 1) return multiply(backend, { ...product, output }, plan, rounding);
  const half = rounding?.c ? rounding.half : undefined;
  return withTemporaries(backend, (temporary) => {
    const sums = temporary(multiply(backend, { ...product, output }, plan, rounding && { ...rounding, c: false }));
    return sumColumns(backend, sums, { outer: 1, rows: pieces, shape, half });
  });
}

const scalarOf = (plan: Plan): Scalar => (plan.kind === 'matrices' || (plan.kind === 'tiles' && plan.half) ? 'h' : 'f');

const extensions = (plan: Plan, formats: readonly Format[]): string[] => [
  ...(scalarOf(plan) === 'h' || formats.includes('native') ? ['f16'] : []),
  ...(plan.kind === 'direct' && plan.shares ? ['subgroups'] : []),
  ...(plan.kind === 'matrices' ? ['chromium_experimental_subgroup_matrix'] : []),
];

function formatOf(backend: WebGPUBackend, { tensor, row }: Operand): Format {
  if (row) return 'packed';
  const half = halfOf(tensor);
  return half === 'float16' && halfUnits(backend).f16 ? 'native' : (half ?? 'float32');
}

/** What every plan calls: `segments`, `lengthOf`, and `put`, which writes four values of a row of c where they are inside it. */
function shared({ segments, length, store, bias, activation }: Product, whole: boolean, rounds: boolean): string {
  const each = (f: (i: number) => string): string => [0, 1, 2, 3].map(f).join(' ');
  const biased = whole ? 'bias[n / 4]' : `vec4f(${[0, 1, 2, 3].map((i) => `bias[min(n + ${i}, u.n - 1)]`).join(', ')})`;
  const near = (value: string): string => (rounds ? `rounded4(${value})` : value);
  return `
fn segments(z: u32) -> vec2u { return ${segments}; }
fn lengthOf(s: u32, z: u32) -> u32 { return ${length}; }
fn store(m: u32, z: u32) -> i32 { return ${store ?? 'i32((z * u.m + m) * u.n)'}; }
${activate(activation)}
fn put(m: u32, n: u32, z: u32, sum: vec4f) {
  if (m >= u.m || n >= u.n) { return; }
  let start = store(m, z);
  if (start < 0) { return; }
  let value = ${near(`activate(sum${bias ? ` + ${near(biased)}` : ''})`)};
  let at = u32(start) + n;
  ${whole ? 'c[at / 4] = value;' : each((i) => `if (n + ${i} < u.n) { c[at + ${i}] = value[${i}]; }`)}
}`;
}
