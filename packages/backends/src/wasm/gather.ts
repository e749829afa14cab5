/**
 * Gather, which looks rows up, and its gradient UnsortedSegmentSum, which adds them back: every embedding's two halves.
 *
 *     gather: out[o, i] = x[o, indices[i]]        segment sum: out[ids[row]] += x[row]
 *
 * tfjs lacks the second, and copies the first element by element.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

const product = tf.util.sizeFromShape;

/** Rows with an id outside [0, numSegments) are dropped, as in TensorFlow. */
const segmentSum: WasmKernel = (inputs, attrs, backend) => {
  const [x, ids] = [input(inputs, 'x'), input(inputs, 'segmentIds')];
  if (ids.dtype !== 'int32') throw new Error(`[wasm] unsortedSegmentSum got segmentIds of dtype ${ids.dtype}; expected int32; cast first`);
  if (x.dtype !== 'float32' && x.dtype !== 'int32')
    throw new Error(`[wasm] unsortedSegmentSum got x of dtype ${x.dtype}; expected float32 or int32; cast first`);
  const inner = x.shape.slice(ids.shape.length);
  const out = backend.makeOutput([attrs.numSegments, ...inner], x.dtype);
  const kernels = native(backend);
  const sum = x.dtype === 'int32' ? kernels.segmentSumInt : kernels.segmentSum;
  sum(offset(backend, x), offset(backend, ids), offset(backend, out), product(ids.shape), product(inner), attrs.numSegments);
  return out;
};

export const gathers = (stock: Stock): Kernels => {
  const gather: WasmKernel = (inputs, attrs, backend) => {
    const [x, indices] = [input(inputs, 'x'), input(inputs, 'indices')];
    if (attrs.batchDims || indices.dtype !== 'int32' || x.dtype === 'string') return stock(tf.GatherV2)(inputs, attrs, backend);
    const axis = tf.util.parseAxisParam(attrs.axis, x.shape)[0] as number;
    const [before, size, after] = [x.shape.slice(0, axis), x.shape[axis] as number, x.shape.slice(axis + 1)];
    const out = backend.makeOutput([...before, ...indices.shape, ...after], x.dtype);
    const slice = product(after) * tf.util.bytesPerElement(x.dtype);
    const wrong = native(backend).gather(
      offset(backend, x),
      offset(backend, indices),
      offset(backend, out),
      product(before),
      size,
      product(indices.shape),
      slice,
    );
    if (wrong === -1) return out;
    backend.disposeData(out.dataId);
    const index = new Int32Array(backend.wasm.HEAPU8.buffer, offset(backend, indices), wrong + 1)[wrong];
    throw new Error(`GatherV2: the index value ${index} is not in [0, ${size - 1}]`);
  };
  return { [tf.GatherV2]: gather, [tf.UnsortedSegmentSum]: segmentSum };
};
