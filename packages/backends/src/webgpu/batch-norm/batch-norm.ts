/** Forward of batch norm, four channels a thread: y = (x - mean) / sqrt(variance + ε) · scale + offset. */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type Stock } from '../backend.ts';
import { areElementwise, elementwise } from '../elements/elementwise.ts';

export const batchNorms = (stock: Stock): Kernels => ({
  [tf.FusedBatchNorm]: (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    const given = Object.fromEntries(Object.entries(inputs).filter(([, tensor]) => tensor)) as { [name: string]: tf.TensorInfo };
    if (!areElementwise(Object.values(given), x.shape)) return stock(tf.FusedBatchNorm)(inputs, attrs, backend);
    const { scale, offset } = inputs;
    return elementwise(backend, {
      key: tf.FusedBatchNorm,
      inputs: given,
      shape: x.shape,
      value: `(x - mean) * inverseSqrt(variance + u.epsilon)${scale ? ' * scale' : ''}${offset ? ' + offset' : ''}`,
      uniforms: { epsilon: ['f32', attrs['varianceEpsilon'] as number] },
    });
  },
});
