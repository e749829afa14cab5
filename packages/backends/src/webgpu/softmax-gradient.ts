/**
 * Backward of softmax over the last axis, a row at a time and without temporaries: dx = (dy - Σ dy y) · y. The kernel `SoftmaxGrad` of
 * { dy, y }; core's gradient rule uses it where it is registered.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type Stock } from './backend.ts';
import { overRows } from './rows.ts';

export const softmaxes = (stock: Stock): Kernels => ({
  [tf.Softmax]: (inputs, attrs, backend) => {
    const logits = input(inputs, 'logits');
    if (logits.shape.includes(0)) return backend.makeTensorInfo(logits.shape, 'float32', new Float32Array(0)); // tfjs fails
    return stock(tf.Softmax)(inputs, attrs, backend);
  },

  SoftmaxGrad: (inputs, _, backend) => {
    const [dy, y] = [input(inputs, 'dy'), input(inputs, 'y')];
    return overRows(backend, 'softmaxGradient', { dy, y }, y.shape, 'dy[at] * y[at]', '(dy[at] - sum) * y[at]');
  },
});
