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
  /** A transpose that moves only axes of size 1 is a reshape. */
  const transpose: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    const perm = attrs.perm as number[];
    const moved = perm.filter((axis) => x.shape[axis] !== 1);
    const stays = moved.every((axis, i) => i === 0 || axis > (moved[i - 1] as number));
    return stays && x.dtype !== 'string'
      ? share(
          backend,
          x,
          perm.map((axis) => x.shape[axis] as number),
        )
      : stock(tf.Transpose)(inputs, attrs, backend);
  };
  const cast: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    return attrs.dtype === x.dtype && x.dtype !== 'string' ? share(backend, x) : stock(tf.Cast)(inputs, attrs, backend);
  };
  return { [tf.Identity]: identity, [tf.Transpose]: transpose, [tf.Cast]: cast };
};
