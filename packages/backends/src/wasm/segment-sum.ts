/** UnsortedSegmentSum, the gradient of gather and so of every embedding: out[id] += x[row]. Rows with an id outside [0, numSegments) are dropped. */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

const segmentSum: WasmKernel = (inputs, attrs, backend) => {
  const [x, ids] = [input(inputs, 'x'), input(inputs, 'segmentIds')];
  if (ids.dtype !== 'int32') throw new Error(`[wasm] unsortedSegmentSum got segmentIds of dtype ${ids.dtype}; expected int32; cast first`);
  if (x.dtype !== 'float32' && x.dtype !== 'int32') throw new Error(`[wasm] unsortedSegmentSum got x of dtype ${x.dtype}; expected float32 or int32; cast first`);
  const inner = x.shape.slice(ids.shape.length);
  const out = backend.makeOutput([attrs.numSegments, ...inner], x.dtype);
  const kernels = native(backend);
  const sum = x.dtype === 'int32' ? kernels.segmentSumInt : kernels.segmentSum;
  sum(offset(backend, x), offset(backend, ids), offset(backend, out), tf.util.sizeFromShape(ids.shape), tf.util.sizeFromShape(inner), attrs.numSegments);
  return out;
};

export const segmentSums: Kernels = { [tf.UnsortedSegmentSum]: segmentSum };
