/**
 * Clones that share their data, as on every other backend. tfjs-backend-wasm copies the buffer, so each value kept for
 * backward, being a clone, is held twice, and a copy is made of every frozen weight that a gradient saves.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type Stock, type WasmBackend, type WasmKernel } from './backend.ts';

/** Another handle on the same data; disposed like a tensor of its own. */
export function share(backend: WasmBackend, x: tf.TensorInfo, shape: number[] = x.shape): tf.TensorInfo {
  backend.incRef(x.dataId);
  return { dataId: x.dataId, shape, dtype: x.dtype };
}

export const identities = (stock: Stock): Kernels => {
  const identity: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    return x.dtype === 'string' ? stock(tf.Identity)(inputs, attrs, backend) : share(backend, x);
  };
  const cast: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    return attrs.dtype === x.dtype && x.dtype !== 'string' ? share(backend, x) : stock(tf.Cast)(inputs, attrs, backend);
  };
  return { [tf.Identity]: identity, [tf.Cast]: cast };
};
