/**
 * Sum, Mean and Tile, which the gradients of everything broadcast consist of. tfjs transposes its input before it sums
 * over any axes but the last, and tiles element by element; a batch norm's gradient spends most of a training step there.
 * Max, Min and Prod over no elements, where tfjs returns what the heap happens to hold.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, input, type Kernels, offset, type Stock, type WasmBackend, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

/** [outer, reduce, inner] such that the axes of size > 1 are reduced in one stretch; undefined if they are not. */
function stretch(shape: readonly number[], axes: readonly number[]): [number, number, number] | undefined {
  const sizes: [number, number, number] = [1, 1, 1];
  let part = 0;
  for (const [axis, size] of shape.entries()) {
    if (size === 1) continue;
    const reduced = axes.includes(axis);
    if (reduced && part === 0) part = 1;
    if (!reduced && part === 1) part = 2;
    if (reduced && part === 2) return undefined;
    sizes[part] = (sizes[part] as number) * size;
  }
  return sizes;
}

function reducedShape(shape: number[], attrs: Attrs): number[] {
  const axes = tf.util.parseAxisParam(attrs.axis ?? attrs.reductionIndices, shape);
  return shape.flatMap((size, axis) => (axes.includes(axis) ? (attrs.keepDims ? [1] : []) : [size]));
}

function reduceBy(backend: WasmBackend, x: tf.TensorInfo, attrs: Attrs, mean: boolean): tf.TensorInfo | undefined {
  const axes = tf.util.parseAxisParam(attrs.axis, x.shape);
  const sizes = x.dtype === 'float32' ? stretch(x.shape, axes) : undefined;
  if (!sizes || tf.util.sizeFromShape(x.shape) === 0) return undefined;
  const out = backend.makeOutput(reducedShape(x.shape, attrs), 'float32');
  native(backend).sumAxis(offset(backend, x), offset(backend, out), ...sizes, mean ? sizes[1] : 1);
  return out;
}

/** What no elements reduce to. An int32 takes the nearest that it has. */
const ofNothing = { [tf.Max]: -Infinity, [tf.Min]: Infinity, [tf.Prod]: 1 } as const;

const orNothing =
  (kernel: keyof typeof ofNothing, stock: Stock): WasmKernel =>
  (inputs, attrs, backend) => {
    const { shape, dtype } = input(inputs, 'x');
    if (tf.util.sizeFromShape(shape) > 0) return stock(kernel)(inputs, attrs, backend);
    const out = backend.makeOutput(reducedShape(shape, attrs), dtype);
    const [at, size] = [offset(backend, out), tf.util.sizeFromShape(out.shape)];
    const { buffer } = backend.wasm.HEAPU8;
    const value = ofNothing[kernel];
    if (dtype === 'float32') new Float32Array(buffer, at, size).fill(value);
    else new Int32Array(buffer, at, size).fill(Math.min(Math.max(value, -(2 ** 31)), 2 ** 31 - 1));
    return out;
  };

function tile(backend: WasmBackend, x: tf.TensorInfo, reps: readonly number[]): tf.TensorInfo {
  const out = backend.makeOutput(
    x.shape.map((size, axis) => size * (reps[axis] as number)),
    x.dtype,
  );
  const rank = reps.findLastIndex((times) => times !== 1) + 1; // what lies behind moves as one block
  const block = tf.util.sizeFromShape(x.shape.slice(rank)) * tf.util.bytesPerElement(x.dtype);
  const { tile, scratch, shapeOffset, repsOffset } = native(backend);
  const heap = backend.wasm.HEAPU8.buffer;
  new Int32Array(heap, shapeOffset, rank).set(x.shape.slice(0, rank));
  new Int32Array(heap, repsOffset, rank).set(reps.slice(0, rank));
  if (tf.util.sizeFromShape(out.shape) > 0) tile(offset(backend, x), offset(backend, out), rank, block, scratch);
  return out;
}

export const reductions = (stock: Stock): Kernels => {
  const reduction =
    (kernel: string): WasmKernel =>
    (inputs, attrs, backend) =>
      reduceBy(backend, input(inputs, 'x'), attrs, kernel === tf.Mean) ?? stock(kernel)(inputs, attrs, backend);
  const tiled: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    return x.dtype === 'string' ? stock(tf.Tile)(inputs, attrs, backend) : tile(backend, x, attrs.reps);
  };
  const extremes = ([tf.Max, tf.Min, tf.Prod] as const).map((kernel) => [kernel, orNothing(kernel, stock)] as const);
  return { [tf.Sum]: reduction(tf.Sum), [tf.Mean]: reduction(tf.Mean), [tf.Tile]: tiled, ...Object.fromEntries(extremes) };
};
