/**
 * Softmax over the last axis and its gradient, a row at a time and without temporaries: y = exp(x - max x) / Σ exp(x - max x),
 * dx = (dy - Σ dy y) · y. The kernel `SoftmaxGrad` of { dy, y }; core's gradient rule uses it where it is registered.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, onCpu, type Stock } from '../backend.ts';
import { rowPasses } from './rows.ts';

export const softmaxes = (stock: Stock): Kernels => ({
  [tf.Softmax]: (inputs, attrs, backend) => {
    const logits = input(inputs, 'logits');
    if (logits.shape.includes(0)) return backend.makeTensorInfo(logits.shape, 'float32', new Float32Array(0)); // tfjs fails
    const isLast = attrs['dim'] === -1 || attrs['dim'] === logits.shape.length - 1;
    if (!isLast || logits.dtype !== 'float32' || onCpu(backend, [logits])) return stock(tf.Softmax)(inputs, attrs, backend);
    return rowPasses(backend, {
      key: 'softmax',
      inputs: { x: logits },
      shape: logits.shape,
      sums: [
        { name: 'top', term: 'x[at]', max: true },
        { name: 'all', term: 'exp(x[at] - top)' },
      ],
      result: 'exp(x[at] - top) / all',
    }).result!;
  },

  SoftmaxGrad: (inputs, _, backend) => {
    const [dy, y] = [input(inputs, 'dy'), input(inputs, 'y')];
    return rowPasses(backend, {
      key: 'softmaxGradient',
      inputs: { dy, y },
      shape: y.shape,
      sums: [{ name: 'slope', term: 'dy[at] * y[at]' }],
      result: '(dy[at] - slope) * y[at]',
    }).result!;
  },
});
