/**
 * Slices, by themselves and as the parts of a tensor that is split. tfjs-backend-wasm first copies all of x out of its heap, so that a few
 * rows of a table cost as much as the table; here what is asked for moves, and nothing else.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelMap } from '../kernels.ts';
import { allOrNone, input, type Kernels, offset, run, type Stock, type WasmBackend, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

const product = tf.util.sizeFromShape;

/** What lies at `begin`, into `out`: rows of the last axis that is cut, as long as they lie equally far apart, by one call. */
function copy(backend: WasmBackend, x: tf.TensorInfo, out: tf.TensorInfo, begin: readonly number[]): void {
  const [{ shape }, { shape: size }] = [x, out];
  const whole = (axis: number): boolean => size[axis] === shape[axis];
  let cut = Math.max(shape.length - 1, 0);
  while (cut > 0 && whole(cut)) cut--;
  let first = Math.max(cut - 1, 0); // of the axes whose rows lie equally far apart
  while (first > 0 && whole(first)) first--;
  const element = tf.util.bytesPerElement(x.dtype);
  const strides = [...tf.util.computeStrides(shape), 1].map((stride) => stride * element);
  const bytes = (size[cut] ?? 1) * strides[cut]!;
  const stride = cut > 0 ? strides[cut - 1]! : bytes;
  const rows = product(size.slice(first, cut));
  const bytesTo = (place: readonly number[]): number => place.reduce((sum, at, axis) => sum + at * strides[axis]!, 0);
  const from = offset(backend, x) + element * Math.floor(bytesTo(begin) / element); // half of 5 is 2, as in tfjs
  const to = offset(backend, out);
  const { copyRows } = native(backend);
  const outer = size.slice(0, first);
  const outerStrides = tf.util.computeStrides(outer);
  for (let block = 0; block < product(outer); block++)
    copyRows(from + bytesTo(tf.util.indexToLoc(block, first, outerStrides)), to + block * rows * bytes, rows, stride, bytes);
}

export const slices = (stock: Stock): Kernels => {
  const slice: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    if (x.dtype === 'string' || x.dtype === 'complex64') return stock(tf.Slice)(inputs, attrs, backend);
    const [begin, size] = tf.slice_util.parseSliceParams(x as tf.Tensor, attrs.begin, attrs.size) as [number[], number[]];
    tf.slice_util.assertParamsValid(x as tf.Tensor, begin, size);
    if (begin.some((at) => at < 0)) throw new Error(`[wasm] slice got begin [${begin}] of shape [${x.shape}]; expected no number below 0`);
    const out = backend.makeOutput(size, x.dtype);
    if (product(size) > 0) copy(backend, x, out, begin);
    return out;
  };
  return { [tf.Slice]: slice };
};

/** Parts of x along an axis, each as long as `sizes` say. */
const partsOf = (backend: WasmBackend, x: tf.TensorInfo, axis: number, sizes: readonly number[]): tf.TensorInfo[] =>
  allOrNone(backend, (made) => {
    let at = 0;
    return sizes.map((size) => {
      const begin = x.shape.map((_, i) => (i === axis ? at : 0));
      at += size;
      return made(run(backend, tf.Slice, { x }, { begin, size: x.shape.with(axis, size) }));
    });
  });

export const splits: KernelMap<WasmBackend, tf.TensorInfo[]> = {
  [tf.SplitV](inputs, { numOrSizeSplits, axis }, backend) {
    const x = input(inputs, 'x');
    const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
    return partsOf(backend, x, along, tf.backend_util.prepareSplitSize(x as tf.Tensor, numOrSizeSplits, along));
  },
  [tf.Unpack](inputs, { axis }, backend) {
    const x = input(inputs, 'value');
    const along = tf.util.parseAxisParam(axis, x.shape)[0]!;
    const shape = x.shape.filter((_, i) => i !== along);
    return partsOf(backend, x, along, Array<number>(x.shape[along]!).fill(1)).map((part) => ({ ...part, shape }));
  },
};
