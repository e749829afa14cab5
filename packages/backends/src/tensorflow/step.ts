/** step(x) = max(sign(x), 0), which every gradient of a ReLU asks for: two passes over memory, where tfjs-node makes seven. NaN stays NaN. */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelMap, StockKernel } from '../kernels.ts';
import { DType, type TensorflowBackend } from './binding.ts';
import { type, withOps } from './raw.ts';

const T = type(DType.float);

export const steps = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> => {
  const any = stock(tf.Step);
  return {
    [tf.Step]: (inputs, attrs, backend) => {
      const x = inputs['x']!;
      if (attrs['alpha'] !== 0 || x.dtype !== 'float32') return any(inputs, attrs, backend);
      return withOps(backend, ({ run, constant, leave }) => {
        const sign = run('Sign', { T }, [x]);
        return leave(run('Maximum', { T }, [sign, constant(Float32Array.of(0), [])]), 'float32');
      });
    },
  };
};
