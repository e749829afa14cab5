/**
 * Clones that share their data, as on every other backend. tfjs-backend-wasm copies the buffer, so each value kept for
 * backward, being a clone, is held twice, and a copy is made of every frozen weight that a gradient saves.
 * And casts to bool, which there keep the low byte: -2 becomes 254 and 0.5 becomes 0, where both are true.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmBackend, type WasmKernel } from './backend.ts';

/** Another handle on the same data; disposed like a tensor of its own. */
export function share(backend: WasmBackend, x: tf.TensorInfo, shape: number[] = x.shape): tf.TensorInfo {
  backend.incRef(x.dataId);
  return { dataId: x.dataId, shape, dtype: x.dtype };
}

function isTrue(backend: WasmBackend, x: tf.TensorInfo): tf.TensorInfo {
  const y = backend.makeOutput(x.shape, 'bool');
  const { buffer } = backend.wasm.HEAPU8; // after the output is made: the heap may have grown
  const [from, size] = [offset(backend, x), tf.util.sizeFromShape(x.shape)];
  const values = x.dtype === 'int32' ? new Int32Array(buffer, from, size) : new Float32Array(buffer, from, size);
  new Uint8Array(buffer, offset(backend, y), size).set(Uint8Array.from(values, (value) => (value === 0 ? 0 : 1)));
  return y;
}

export const identities = (stock: Stock): Kernels => {
  const identity: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    return x.dtype === 'string' ? stock(tf.Identity)(inputs, attrs, backend) : share(backend, x);
  };
  const cast: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    if (attrs.dtype === x.dtype && x.dtype !== 'string') return share(backend, x);
    if (attrs.dtype === 'bool' && (x.dtype === 'float32' || x.dtype === 'int32')) return isTrue(backend, x);
    return stock(tf.Cast)(inputs, attrs, backend);
  };
  return { [tf.Identity]: identity, [tf.Cast]: cast };
};
