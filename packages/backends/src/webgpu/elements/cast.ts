/**
 * int32 and bool as float32, in a buffer of their own. tfjs gives the buffer of whole numbers another name and lets its programs look up what
 * is in it; kernels that take a tensor's dtype at its word, as all of ours do, would read the bits of one as the other.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type Stock } from '../backend.ts';
import { elementwise } from './elementwise.ts';

export const casts = (stock: Stock): Kernels => ({
  [tf.Cast]: (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    if (attrs['dtype'] !== 'float32' || (x.dtype !== 'int32' && x.dtype !== 'bool')) return stock(tf.Cast)(inputs, attrs, backend);
    const { values, resource } = backend.tensorMap.get(x.dataId);
    if (values && !resource) return backend.makeTensorInfo(x.shape, 'float32', Float32Array.from(values as ArrayLike<number>));
    return elementwise(backend, { key: tf.Cast, inputs: { x }, shape: x.shape, value: 'T(x)' });
  },
});
