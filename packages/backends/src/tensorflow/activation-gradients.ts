/**
 * Gradients of activations from their outputs, one pass each, which core's rules look for:
 *
 *   relu: dy where y > 0, else 0        tanh: dy (1 - y²)        sigmoid: dy y (1 - y)
 *
 * That of relu chooses where tfjs multiplies by step(y): it gives 0 where y is NaN, or dy infinite at y = 0, for tfjs's NaN.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Kernel, KernelMap } from '../kernels.ts';
import { DType, type TensorflowBackend } from './binding.ts';
import { ownNames } from './own-op.ts';
import { type Operand, type Ops, type, withOps } from './raw.ts';

const T = type(DType.float);

/** TensorFlow's kernels take a dy of y's own shape. */
function broadcast({ constant, run }: Ops, dy: tf.TensorInfo, { shape }: tf.TensorInfo): Operand {
  if (dy.shape.length === shape.length && dy.shape.every((size, axis) => size === shape[axis])) return dy;
  return run('BroadcastTo', { T, Tidx: type(DType.int32) }, [dy, constant(Int32Array.from(shape))]);
}

const gradient =
  (op: string, inputs: (dy: Operand, y: Operand) => readonly Operand[]): Kernel<TensorflowBackend, tf.TensorInfo> =>
  ({ dy, y }, _, backend) =>
    withOps(backend, (ops) => {
      const operands = inputs(broadcast(ops, dy!, y!), y!);
      return ops.leave(ownNames().has(op) ? ops.run(`Leantune${op}`, {}, operands) : ops.run(op, { T }, operands), 'float32');
    });

export const activationGradients: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  ReluGrad: gradient('ReluGrad', (dy, y) => [dy, y]),
  TanhGrad: gradient('TanhGrad', (dy, y) => [y, dy]),
  SigmoidGrad: gradient('SigmoidGrad', (dy, y) => [y, dy]),
};
