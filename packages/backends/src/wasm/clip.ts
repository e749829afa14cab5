/** clipByValue that lets NaN through, as every other backend does: a diverging loss must not look like a finite one. */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

export const clips = (stock: Stock): Kernels => {
  const clip: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    if (x.dtype !== 'float32') return stock(tf.ClipByValue)(inputs, attrs, backend);
    const out = backend.makeOutput(x.shape, x.dtype);
    native(backend).clip(offset(backend, x), offset(backend, out), tf.util.sizeFromShape(x.shape), attrs.clipValueMin, attrs.clipValueMax);
    return out;
  };
  return { [tf.ClipByValue]: clip };
};
