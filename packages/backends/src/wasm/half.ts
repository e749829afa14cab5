/** Values rounded to half precision, and stored in it, in one pass over the heap. What each kernel computes: `../half.ts`. */
import * as tf from '@tensorflow/tfjs-core';
import { halfWords } from '../half.ts';
import { assertFloat, input, type Kernels, offset, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const isBrain = (attrs: { readonly [name: string]: unknown }): boolean => attrs['half'] === 'bfloat16';

const roundHalf: WasmKernel = (inputs, attrs, backend) => {
  assertFloat('RoundHalf', inputs);
  const x = input(inputs, 'x');
  if (attrs['inPlace']) {
    native(backend).roundHalf(offset(backend, x), offset(backend, x), size(x), isBrain(attrs));
    backend.incRef(x.dataId);
    return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
  }
  const out = backend.makeOutput(x.shape, 'float32');
  native(backend).roundHalf(offset(backend, x), offset(backend, out), size(x), isBrain(attrs));
  return out;
};

const encodeHalf: WasmKernel = (inputs, attrs, backend) => {
  assertFloat('EncodeHalf', inputs);
  const x = input(inputs, 'x');
  const out = backend.makeOutput([halfWords(size(x))], 'int32');
  native(backend).encodeHalf(offset(backend, x), offset(backend, out), size(x), isBrain(attrs));
  return out;
};

const decodeHalf: WasmKernel = (inputs, attrs, backend) => {
  const out = backend.makeOutput(attrs['shape'], 'float32');
  native(backend).decodeHalf(offset(backend, input(inputs, 'codes')), offset(backend, out), size(out), isBrain(attrs));
  return out;
};

export const halves: Kernels = { RoundHalf: roundHalf, EncodeHalf: encodeHalf, DecodeHalf: decodeHalf };
