/**
 * exp, tanh and erf, four elements at a time, which tfjs-backend-wasm takes one by one from the C library; and GELU in one pass, the
 * kernels `Gelu` and `GeluGrad` of @leantune/transformers, which composed of ops make several values of x's size.
 */
import * as tf from '@tensorflow/tfjs-core';
import { assertFloat, input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

const kernels = { [tf.Exp]: 'exp', [tf.Tanh]: 'tanh', [tf.Erf]: 'erf' } as const;

const gelu: WasmKernel = (inputs, { approximate }, backend) => {
  assertFloat('Gelu', inputs);
  const x = input(inputs, 'x');
  const out = backend.makeOutput(x.shape, 'float32');
  native(backend)[approximate ? 'geluTanh' : 'gelu'](offset(backend, x), offset(backend, out), tf.util.sizeFromShape(x.shape));
  return out;
};

const geluGrad: WasmKernel = (inputs, { approximate }, backend) => {
  assertFloat('GeluGrad', inputs);
  const [x, dy] = [input(inputs, 'x'), input(inputs, 'dy')];
  const out = backend.makeOutput(x.shape, 'float32');
  const run = native(backend)[approximate ? 'geluTanhGrad' : 'geluGrad'];
  run(offset(backend, x), offset(backend, dy), offset(backend, out), tf.util.sizeFromShape(x.shape));
  return out;
};

export const exponentials = (stock: Stock): Kernels => {
  const elementwise =
    (kernel: keyof typeof kernels): WasmKernel =>
    (inputs, attrs, backend) => {
      const x = input(inputs, 'x');
      if (x.dtype !== 'float32') return stock(kernel)(inputs, attrs, backend);
      const out = backend.makeOutput(x.shape, 'float32');
      native(backend)[kernels[kernel]](offset(backend, x), offset(backend, out), tf.util.sizeFromShape(x.shape));
      return out;
    };
  const names = Object.keys(kernels) as (keyof typeof kernels)[];
  return { ...Object.fromEntries(names.map((kernel) => [kernel, elementwise(kernel)])), Gelu: gelu, GeluGrad: geluGrad };
};
