/** One-hot labels in float32 and bool. tfjs-backend-wasm writes 32-bit integers whatever the dtype: 1 reads as 1.4e-45, and bools overflow. */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';

export const oneHots = (stock: Stock): Kernels => {
  const oneHot: WasmKernel = (inputs, attrs, backend) => {
    if (attrs.dtype === 'int32') return stock(tf.OneHot)(inputs, attrs, backend);
    const indices = input(inputs, 'indices');
    const { depth, onValue, offValue } = attrs as { depth: number; onValue: number; offValue: number };
    const count = tf.util.sizeFromShape(indices.shape);
    const y = backend.makeOutput([...indices.shape, depth], attrs.dtype);
    const { buffer } = backend.wasm.HEAPU8; // after the output is made: the heap may have grown
    const [at, size] = [offset(backend, y), count * depth];
    const values = attrs.dtype === 'bool' ? new Uint8Array(buffer, at, size) : new Float32Array(buffer, at, size);
    values.fill(offValue);
    const labels = new Int32Array(buffer, offset(backend, indices), count);
    labels.forEach((label, i) => {
      if (label >= 0 && label < depth) values[i * depth + label] = onValue;
    });
    return y;
  };
  return { [tf.OneHot]: oneHot };
};
