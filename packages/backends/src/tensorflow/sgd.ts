/** One step of gradient descent where the weights lie, w ← w - α g, for core's `SgdUpdate`: one pass over memory, where tfjs makes two. */
import type * as tf from '@tensorflow/tfjs-core';
import type { KernelMap } from '../kernels.ts';
import { DType, type TensorflowBackend } from './binding.ts';
import { inPlace } from './in-place.ts';
import { bool, type, withOps } from './raw.ts';

const attrs = { T: type(DType.float), use_locking: bool(false) };

export const descents: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  SgdUpdate: ({ variable, gradient }, { rate }, backend) =>
    withOps(backend, (ops) => {
      inPlace(backend, ops, [[variable as tf.Variable]], ([weights]) => {
        ops.runMany('ResourceApplyGradientDescent', attrs, [weights!, ops.constant(Float32Array.of(rate), []), gradient!], 0);
      });
      return variable!;
    }),
};
