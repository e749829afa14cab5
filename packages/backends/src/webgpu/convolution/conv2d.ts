/**
 * conv2d, and its gradients with respect to input and filter, as products over segments (product.ts), channels last, nothing unrolled into
 * memory. With (b, y, x) a pixel, t = (ty, tx) a tap, s the stride, d the dilation and p the padding:
 *
 *     y[b, o, :]  = sum over taps of x[b, s o - p + d t, :] · W[t]          a segment is a tap
 *     dx[b, i, :] = sum over taps of dy[b, (i + p - d t) / s, :] · W[t]^T   where s divides; pixels are taken by remainder, so that the
 *                                                                            rows of a block have their taps in common
 *     dW[t]       = sum over pixels of x[b, s o - p + d t, :]^T · dy[b, o, :]   a segment is a row of o
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, input, type Kernels, type Stock, viewAs, type WebGPUBackend } from '../backend.ts';
import { canActivate } from '../products/activation.ts';
import { alsoInHalf, type Body } from '../products/half-products.ts';
import { matMul } from '../products/mat-mul.ts';
import { enoughGroups, groupsOf, type How, planOf } from '../products/plan.ts';
import { multiply, multiplyInPieces } from '../products/product.ts';
import type { Uniform } from '../recording/dispatch.ts';
import { convInfo2d, type Window, windowUniforms } from './window.ts';

/** Convolutions that are one product of matrices: every pixel for itself. */
const isPointwise = (c: Window): boolean =>
  c.filterHeight * c.filterWidth * c.strideHeight * c.strideWidth === 1 &&
  c.outHeight === c.inHeight &&
  c.outWidth === c.inWidth &&
  c.padInfo.top === 0 &&
  c.padInfo.left === 0;

const tap = 'let ty = s / u.filterWidth; let tx = s % u.filterWidth;';
const four = (n: number): boolean => n % 4 === 0;

export interface Epilogue {
  readonly bias?: tf.TensorInfo | undefined;
  readonly activation?: string | undefined;
  readonly leakyreluAlpha?: number;
}

/** The caller owns the result, [batch, outHeight, outWidth, outChannels]. */
export function conv2d(
  backend: WebGPUBackend,
  x: tf.TensorInfo,
  filter: tf.TensorInfo,
  c: Window,
  epilogue: Epilogue,
  how: How = {},
): tf.TensorInfo {
  const { inChannels, outChannels, outShape } = c;
  if (isPointwise(c)) {
    const y = matMul(backend, viewAs(x, [rowsOf(x), inChannels]), viewAs(filter, [inChannels, outChannels]), { ...epilogue, ...how });
    return viewAs(y, outShape);
  }
  return multiply(
    backend,
    {
      key: 'conv2d',
      a: { tensor: x, aligned: four(inChannels), form: 'rows', place: 'pixelOf(i)', offset: 'under(row, s)' },
      b: { tensor: filter, aligned: four(outChannels), form: 'columns', place: 'vec2u(s * u.inChannels * u.n, u.n)' },
      m: c.batchSize * c.outHeight * c.outWidth,
      n: outChannels,
      depth: 1,
      segments: 'vec2u(0, u.taps)',
      length: 'u.inChannels',
      exact: four(inChannels),
      functions: `
fn pixelOf(i: u32) -> vec4i {
  let x = i % u.outWidth; let row = i / u.outWidth; let y = row % u.outHeight;
  return vec4i(i32((row / u.outHeight) * u.inHeight), i32(y) * u.strideHeight - u.padTop, i32(x) * u.strideWidth - u.padLeft, 0);
}
fn under(row: vec4i, s: u32) -> i32 {
  ${tap}
  let y = row.y + i32(ty) * u.dilationHeight; let x = row.z + i32(tx) * u.dilationWidth;
  if (y < 0 || y >= i32(u.inHeight) || x < 0 || x >= i32(u.inWidth)) { return -1; }
  return ((row.x + y) * i32(u.inWidth) + x) * i32(u.inChannels);
}`,
      uniforms: windowUniforms(c),
      output: { shape: outShape, dtype: 'float32' },
      bias: epilogue.bias,
      activation: epilogue.activation ?? 'linear',
      alpha: epilogue.leakyreluAlpha ?? 0,
    },
    planOf(backend, { m: c.batchSize * c.outHeight * c.outWidth, n: outChannels, depth: 1 }, how),
    how.rounding,
  );
}

/** dx, [batch, inHeight, inWidth, inChannels]. The caller owns it. */
export function conv2dInputGradient(
  backend: WebGPUBackend,
  dy: tf.TensorInfo,
  filter: tf.TensorInfo,
  c: Window,
  how: How = {},
): tf.TensorInfo {
  const { inChannels, outChannels, inShape, strideHeight, strideWidth } = c;
  if (isPointwise(c)) {
    const dx = matMul(backend, viewAs(dy, [rowsOf(dy), outChannels]), viewAs(filter, [inChannels, outChannels]), {
      transposeB: true,
      ...how,
    });
    return viewAs(dx, inShape);
  }
  const [fewRows, fewColumns] = [Math.ceil(c.inHeight / strideHeight), Math.ceil(c.inWidth / strideWidth)];
  const m = strideHeight * strideWidth * c.batchSize * fewRows * fewColumns;
  return multiply(
    backend,
    {
      key: 'conv2dInputGradient',
      a: { tensor: dy, aligned: four(outChannels), form: 'rows', place: 'pixelOf(i)', offset: 'over(row, s)' },
      b: {
        tensor: filter,
        aligned: four(outChannels),
        form: 'rows',
        place: 'vec4i(i32(i * u.outChannels))',
        offset: 'row.x + i32(s * u.n * u.outChannels)',
      },
      m,
      n: inChannels,
      depth: 1,
      segments: 'vec2u(0, u.taps)',
      length: 'u.outChannels',
      exact: four(outChannels),
      functions: `
fn pixelOf(i: u32) -> vec4i {
  let x = i % u.fewColumns; var rest = i / u.fewColumns; let y = rest % u.fewRows; rest /= u.fewRows;
  let b = rest % u.batch; let remainder = i32(rest / u.batch);
  return vec4i(i32(b), i32(y) * u.strideHeight + remainder / u.strideWidth, i32(x) * u.strideWidth + remainder % u.strideWidth, 0);
}
fn over(row: vec4i, s: u32) -> i32 {
  ${tap}
  let y = row.y + u.padTop - i32(ty) * u.dilationHeight; let x = row.z + u.padLeft - i32(tx) * u.dilationWidth;
  if (y < 0 || x < 0 || y % u.strideHeight != 0 || x % u.strideWidth != 0) { return -1; }
  let o = vec2i(y / u.strideHeight, x / u.strideWidth);
  if (o.x >= i32(u.outHeight) || o.y >= i32(u.outWidth)) { return -1; }
  return ((row.x * i32(u.outHeight) + o.x) * i32(u.outWidth) + o.y) * i32(u.outChannels);
}
fn pixelStart(p: vec4i) -> i32 {
  if (p.y >= i32(u.inHeight) || p.z >= i32(u.inWidth)) { return -1; }
  return ((p.x * i32(u.inHeight) + p.y) * i32(u.inWidth) + p.z) * i32(u.n);
}`,
      store: 'pixelStart(pixelOf(m))',
      uniforms: { ...windowUniforms(c), fewRows: ['u32', fewRows], fewColumns: ['u32', fewColumns], batch: ['u32', c.batchSize] },
      output: { shape: inShape, dtype: 'float32' },
    },
    planOf(backend, { m, n: inChannels, depth: 1 }, how),
    how.rounding,
  );
}

/** dW, [filterHeight, filterWidth, inChannels, outChannels]. The caller owns it. */
export function conv2dFilterGradient(backend: WebGPUBackend, x: tf.TensorInfo, dy: tf.TensorInfo, c: Window, how: How = {}): tf.TensorInfo {
  const { inChannels, outChannels, filterHeight, filterWidth } = c;
  const shape = [filterHeight, filterWidth, inChannels, outChannels];
  if (isPointwise(c)) {
    const dw = matMul(backend, viewAs(x, [rowsOf(x), inChannels]), viewAs(dy, [rowsOf(x), outChannels]), { transposeA: true, ...how });
    return viewAs(dw, shape);
  }
  const taps = filterHeight * filterWidth;
  const rows = c.batchSize * c.outHeight;
  const extent = { m: inChannels, n: outChannels, depth: taps };
  const plan = planOf(backend, extent, how);
  const splits = Math.max(1, Math.min(rows, Math.floor(enoughGroups(plan) / groupsOf(plan, extent))));
  const each = Math.ceil(rows / splits);
  const pieces = Math.ceil(rows / each);
  const product = {
    key: 'conv2dFilterGradient',
    a: { tensor: x, aligned: four(inChannels), form: 'columns' as const, place: 'stretchOfX(s, z)' },
    b: { tensor: dy, aligned: four(outChannels), form: 'columns' as const, place: 'vec2u((s * u.outWidth + span(z).x) * u.n, u.n)' },
    m: inChannels,
    n: outChannels,
    depth: taps * pieces, // z is piece · taps + tap
    segments: 'vec2u((z / u.taps) * u.each, min((z / u.taps + 1) * u.each, u.rows))',
    length: 'lengthOfRow(s, z)',
    exact: false,
    functions: `
fn tapOf(z: u32) -> vec2i { let s = z % u.taps; ${tap} return vec2i(i32(ty) * u.dilationHeight - u.padTop, i32(tx) * u.dilationWidth - u.padLeft); }
fn ceilDiv(a: i32, b: i32) -> i32 { return (a + b - 1) / b; }
// The columns [x, y) of dy whose tap falls inside x.
fn span(z: u32) -> vec2u {
  let at = tapOf(z).y;
  let first = select(0, ceilDiv(-at, u.strideWidth), at < 0);
  let end = select(0, ceilDiv(i32(u.inWidth) - at, u.strideWidth), at < i32(u.inWidth));
  return vec2u(u32(first), u32(clamp(end, first, max(first, i32(u.outWidth)))));
}
fn rowOfX(s: u32, z: u32) -> i32 { return i32(s % u.outHeight) * u.strideHeight + tapOf(z).x; }
fn lengthOfRow(s: u32, z: u32) -> u32 {
  let y = rowOfX(s, z);
  if (y < 0 || y >= i32(u.inHeight)) { return 0; }
  let columns = span(z);
  return columns.y - columns.x;
}
fn stretchOfX(s: u32, z: u32) -> vec2u {
  let first = i32(span(z).x) * u.strideWidth + tapOf(z).y;
  let start = (i32((s / u.outHeight) * u.inHeight) + rowOfX(s, z)) * i32(u.inWidth) + first;
  return vec2u(u32(max(start, 0)) * u.m, u32(u.strideWidth) * u.m);
}`,
    uniforms: { ...windowUniforms(c), rows: ['u32', rows], each: ['u32', each] } as { readonly [name: string]: Uniform },
  };
  return multiplyInPieces(backend, product, { pieces, shape, plan, rounding: how.rounding });
}

const rowsOf = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape.slice(0, -1));

const isPlain = (attrs: Attrs, ...xs: tf.TensorInfo[]): boolean =>
  attrs['dataFormat'] !== 'NCHW' && xs.every((x) => x.dtype === 'float32' && tf.util.sizeFromShape(x.shape) > 0);

/** Of no images: sums of nothing. tfjs fails. */
function ofNothing(backend: WebGPUBackend, attrs: Attrs, x: tf.TensorInfo, shape: () => number[]): tf.TensorInfo | undefined {
  if (attrs['dataFormat'] === 'NCHW' || x.shape[0] !== 0) return undefined;
  const made = shape();
  return backend.makeTensorInfo(made, 'float32', new Float32Array(tf.util.sizeFromShape(made)));
}

const forward: Body = (inputs, attrs, backend, how) => {
  const [x, filter, { bias }] = [input(inputs, 'x'), input(inputs, 'filter'), inputs];
  const nothing = ofNothing(backend, attrs, x, () => convInfo2d(x.shape, filter.shape, attrs).outShape);
  if (nothing) return nothing;
  const perChannel = !bias || (bias.dtype === 'float32' && tf.util.sizeFromShape(bias.shape) === filter.shape[3]);
  if (!isPlain(attrs, x, filter) || !perChannel || !canActivate(attrs['activation'])) return undefined;
  const c = convInfo2d(x.shape, filter.shape, attrs);
  if (c.inChannels !== filter.shape[2]) return undefined; // grouped
  return conv2d(backend, x, filter, c, { ...attrs, bias: bias ?? undefined }, how);
};

const inputGradient: Body = (inputs, attrs, backend, how) => {
  const [dy, filter] = [input(inputs, 'dy'), input(inputs, 'filter')];
  const nothing = ofNothing(backend, attrs, dy, () => attrs['inputShape']);
  if (nothing) return nothing;
  const c = isPlain(attrs, dy, filter) && convInfo2d(attrs['inputShape'], filter.shape, attrs);
  return c && tf.util.arraysEqual(c.outShape, dy.shape) ? conv2dInputGradient(backend, dy, filter, c, how) : undefined;
};

const filterGradient: Body = (inputs, attrs, backend, how) => {
  const [x, dy] = [input(inputs, 'x'), input(inputs, 'dy')];
  const nothing = ofNothing(backend, attrs, x, () => attrs['filterShape']);
  if (nothing) return nothing;
  return isPlain(attrs, x, dy) ? conv2dFilterGradient(backend, x, dy, convInfo2d(x.shape, attrs['filterShape'], attrs), how) : undefined;
};

export const convolutions = (stock: Stock): Kernels =>
  alsoInHalf(stock, {
    [tf.Conv2D]: { operands: ['x', 'filter'], body: forward },
    [tf.FusedConv2D]: { operands: ['x', 'filter'], body: forward },
    [tf.Conv2DBackpropInput]: { operands: ['dy', 'filter'], body: inputGradient },
    [tf.Conv2DBackpropFilter]: { operands: ['x', 'dy'], body: filterGradient },
  });
