/** Batch normalization with statistics per channel, lanes being channels; tfjs's is a scalar loop with a square root and a division an element. */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

export const batchNorms = (stock: Stock): Kernels => {
  const batchNorm: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    const channels = x.shape.at(-1) ?? 1;
    const given = Object.values(inputs).filter((value) => value !== undefined && value !== null && value !== x);
    const perChannel = given.every((value) => value?.dtype === 'float32' && value.shape.length === 1 && value.shape[0] === channels);
    if (!perChannel || x.dtype !== 'float32') return stock(tf.FusedBatchNorm)(inputs, attrs, backend);
    const y = backend.makeOutput(x.shape, 'float32');
    const rows = tf.util.sizeFromShape(x.shape) / Math.max(channels, 1);
    const at = (name: string) => (inputs[name] ? offset(backend, input(inputs, name)) : 0);
    const kernels = native(backend);
    kernels.batchNorm(
      at('x'),
      at('mean'),
      at('variance'),
      at('scale'),
      at('offset'),
      offset(backend, y),
      rows,
      channels,
      attrs.varianceEpsilon,
      kernels.scratch,
    );
    return y;
  };
  return { [tf.FusedBatchNorm]: batchNorm };
};
