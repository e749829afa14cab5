/**
 * Gradients of activations from their outputs, one pass each, which core's rules look for:
 *
 *   relu: dy where y > 0, else 0        tanh: dy (1 - y²)        sigmoid: dy y (1 - y)
 *
 * That of relu chooses where tfjs multiplies by step(y): it gives 0 where y is NaN, or dy infinite at y = 0, for tfjs's NaN.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { KernelMap } from '../kernels.ts';
import { DType, type TensorflowBackend } from './binding.ts';
import { type, withOps } from './raw.ts';

const T = type(DType.float);

export const activationGradients: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  ReluGrad: ({ dy, y }, _, backend) => withOps(backend, ({ run, leave }) => leave(run('ReluGrad', { T }, [dy!, y!]), 'float32')),
  TanhGrad: ({ dy, y }, _, backend) => withOps(backend, ({ run, leave }) => leave(run('TanhGrad', { T }, [y!, dy!]), 'float32')),
  SigmoidGrad: ({ dy, y }, _, backend) => withOps(backend, ({ run, leave }) => leave(run('SigmoidGrad', { T }, [y!, dy!]), 'float32')),
};
