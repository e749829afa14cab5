/**
 * BatchMatMul and _FusedMatMul for all four transposes and batches broadcast on either side. Where c is small and K long, as for the
 * gradient of a kernel, K is cut in chunks whose products are summed after: without atomics, so in the same order each time.
 */
import * as tf from '@tensorflow/tfjs-core';
import { productSizes } from '../../product-sizes.ts';
import type { TableRow } from '../../tables.ts';
import { type Attrs, input, type Kernels, type Stock, type WebGPUBackend } from '../backend.ts';
import type { Uniform } from '../recording/dispatch.ts';
import { canActivate } from './activation.ts';
import { alsoInHalf, type Body } from './half-products.ts';
import type { Operand } from './operand.ts';
import { enoughGroups, groupsOf, type How, planOf } from './plan.ts';
import { multiplyInPieces, type Product } from './product.ts';

export interface MatMulOptions extends How {
  readonly transposeA?: boolean;
  readonly transposeB?: boolean;
  readonly bias?: tf.TensorInfo | undefined;
  readonly activation?: string | undefined;
  readonly leakyreluAlpha?: number;
  /** How rows of b are packed, where it is a frozen table. */
  readonly row?: TableRow;
}

/** K is cut no shorter, */
const SHORTEST = 64;
/** and no shorter than this for the sake of a larger tile. */
const LONG = 512;

/** Sizes of a product, and where the matrices of a batch begin. */
function sizesOf(a: tf.TensorInfo, b: tf.TensorInfo, transposeA: boolean, transposeB: boolean) {
  const { m, k, n, batch, aBatch, bBatch } = productSizes('webgpu', a, b, transposeA, transposeB);
  const depth = tf.util.sizeFromShape(batch);
  const sizes = { m, k, n, depth, shape: [...batch, m, n], strides: batchStrides(batch, aBatch, bBatch, m * k, k * n) };
  const one = !transposeA && tf.util.sizeFromShape(bBatch) === 1; // rows of a in one product
  return one ? { ...sizes, m: m * depth, depth: 1, strides: batchStrides([], [], [], 0, 0) } : sizes;
}

const operand = (tensor: tf.TensorInfo, form: Operand['form'], start: string, width: string): Operand => ({
  tensor,
  aligned: tensor.shape.at(-1)! % 4 === 0,
  ...(form === 'columns'
    ? { form, place: `vec2u(${start} + s * u.chunk * ${width}, ${width})` }
    : { form, place: `vec4i(i32(${start} + i * u.k))`, offset: 'row.x + i32(s * u.chunk)' }),
});

/** [...batch, m, k] x [...batch, k, n] -> [...batch, m, n], float32. The caller owns the result. */
export function matMul(backend: WebGPUBackend, a: tf.TensorInfo, b: tf.TensorInfo, options: MatMulOptions = {}): tf.TensorInfo {
  const { transposeA = false, transposeB = false, bias, activation = 'linear' } = options;
  const { m, k, n, depth, shape, strides } = sizesOf(a, b, transposeA, transposeB);
  const plain = !bias && activation === 'linear';
  if (tf.util.sizeFromShape(shape) === 0 || k === 0) return withoutProduct(backend, shape, k === 0 && !plain);
  const plan = planOf(backend, { m, n, depth, cuts: plain ? Math.max(1, Math.floor(k / LONG)) : 1 }, options);
  const wanted = Math.min(Math.floor(k / SHORTEST), Math.floor(enoughGroups(plan) / groupsOf(plan, { m, n, depth })));
  const chunk = 4 * Math.ceil(k / (plain ? Math.max(1, wanted) : 1) / 4);
  const pieces = Math.ceil(k / chunk);
  const product: Omit<Product, 'output'> = {
    key: 'matMul',
    a: operand(a, transposeA ? 'columns' : 'rows', 'batchOf(z).x', 'u.m'),
    b: { ...operand(b, transposeB ? 'rows' : 'columns', 'batchOf(z).y', 'u.n'), row: options.row },
    m,
    n,
    depth: depth * pieces,
    segments: 'vec2u(z % u.pieces, z % u.pieces + 1)',
    length: 'min(u.chunk, u.k - s * u.chunk)',
    exact: k % 4 === 0,
    store: 'i32((((z % u.pieces) * (u.depth / u.pieces) + z / u.pieces) * u.m + m) * u.n)',
    functions: batchOf,
    uniforms: { k: ['u32', k], chunk: ['u32', chunk], pieces: ['u32', pieces], ...strides },
    bias,
    activation,
    alpha: options.leakyreluAlpha ?? 0,
  };
  return multiplyInPieces(backend, product, { pieces, shape, plan, rounding: options.rounding });
}

/** From z, which is batch · pieces + piece, to where the matrices of its batch begin; the three inner axes of the batch by name. */
const batchOf = `
fn batchOf(z: u32) -> vec2u {
  let i3 = z / u.pieces; let i2 = i3 / u.d3; let i1 = i2 / u.d2; let i0 = i1 / u.d1;
  let i = vec4u(i0, i1 % u.d1, i2 % u.d2, i3 % u.d3);
  return vec2u(dot(i, vec4u(u.a0, u.a1, u.a2, u.a3)), dot(i, vec4u(u.b0, u.b1, u.b2, u.b3)));
}`;

function batchStrides(
  batch: number[],
  aBatch: number[],
  bBatch: number[],
  aSize: number,
  bSize: number,
): { readonly [name: string]: Uniform } {
  const four = (shape: number[]): number[] => [...Array<number>(Math.max(0, 4 - shape.length)).fill(1), ...shape];
  const stridesOf = (shape: number[], size: number): number[] => {
    let stride = size;
    const strides: number[] = [];
    for (const d of four(shape).reverse()) {
      strides.unshift(d === 1 ? 0 : stride);
      stride *= d;
    }
    return strides;
  };
  const [, d1, d2, d3] = four(batch) as [number, number, number, number];
  const [a, b] = [stridesOf(aBatch, aSize), stridesOf(bBatch, bSize)];
  const u = (value: number): Uniform => ['u32', value];
  return Object.fromEntries([
    ['d1', u(d1)],
    ['d2', u(d2)],
    ['d3', u(d3)],
    ...a.map((stride, i) => [`a${i}`, u(stride)]),
    ...b.map((stride, i) => [`b${i}`, u(stride)]),
  ]);
}

/** A sum of nothing. */
function withoutProduct(backend: WebGPUBackend, shape: number[], epilogue: boolean): tf.TensorInfo {
  if (epilogue) throw new Error('[webgpu] a fused matMul over an inner axis of size 0; expected at least one element');
  return backend.makeTensorInfo(shape, 'float32', new Float32Array(tf.util.sizeFromShape(shape)));
}

const isFloat = (...xs: tf.TensorInfo[]): boolean => xs.every((x) => x.dtype === 'float32');
const rank = (x: tf.TensorInfo): number => x.shape.length;

const batchMatMul: Body = (inputs, attrs, backend, how) => {
  const [a, b] = [input(inputs, 'a'), input(inputs, 'b')];
  return isFloat(a, b) && rank(a) <= 6 && rank(b) <= 6 ? matMul(backend, a, b, { ...attrs, ...how }) : undefined;
};

const fusedMatMul: Body = (inputs, attrs, backend, how) => {
  const [a, b, { bias }] = [input(inputs, 'a'), input(inputs, 'b'), inputs];
  const n = b.shape[attrs['transposeB'] ? rank(b) - 2 : rank(b) - 1];
  const fits = !bias || (isFloat(bias) && bias.shape.at(-1) === n && tf.util.sizeFromShape(bias.shape) === n);
  const ours = fits && isFloat(a, b) && rank(a) <= 6 && rank(b) <= 6 && canActivate(attrs['activation']);
  if (!ours || a.shape.at(attrs['transposeA'] ? -2 : -1) === 0) return undefined;
  return matMul(backend, a, b, { ...(attrs as Attrs), ...how, bias: bias ?? undefined });
};

export const matMuls = (stock: Stock): Kernels =>
  alsoInHalf(stock, {
    [tf.BatchMatMul]: { operands: ['a', 'b'], body: batchMatMul },
    [tf._FusedMatMul]: { operands: ['a', 'b'], body: fusedMatMul },
  });
