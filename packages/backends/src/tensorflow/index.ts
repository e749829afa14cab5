/**
 * tfjs-node and tfjs-node-gpu, made able to train: kernels put right, raw ops in half precision, packed nibbles, optimizer steps in
 * place, the allocator's own figures.
 */
import * as tf from '@tensorflow/tfjs-core';
import { registerKernels } from '../kernels.ts';
import { activationGradients } from './activation-gradients.ts';
import { optimizers } from './adamw.ts';
import { batchNormGradients } from './batch-norm-gradient.ts';
import { batchNormTraining } from './batch-norm-train.ts';
import type { TensorflowBackend } from './binding.ts';
import { convs } from './conv.ts';
import { halfKernels } from './half-kernels.ts';
import { halfStorage } from './half-storage.ts';
import { ownElementwise } from './own-elementwise.ts';
import { ownOps } from './own-ops.ts';
import { pools } from './pool.ts';
import { poolCodes } from './pool-codes.ts';
import { rounds } from './round.ts';
import { rowCodes } from './row-codes.ts';
import { descents } from './sgd.ts';
import { steps } from './step.ts';
import { stepCodes } from './step-codes.ts';
import { productSums, rowSums } from './sum-rows.ts';
import { views } from './views.ts';
import { zeros } from './zeros.ts';

export type { ConvHalfOptions, HalfType, MatMulHalfOptions } from '../half.ts';
export { type AdamWStep, adamWStep } from './adamw.ts';
export { type AllocatorStats, allocatorStats, resetPeak } from './allocator.ts';
export { isCarrier, makeCarrier, readCarrier } from './carrier.ts';
export {
  conv2dHalf,
  conv2dHalfFilterGradient,
  conv2dHalfInputGradient,
  decodeHalf,
  encodeHalf,
  matMulHalf,
} from './half.ts';
export { decodeNibbles, packNibbles, unpackNibbles } from './nibbles.ts';
export { shimNode } from './node-shim.ts';
export { guardMemory } from './out-of-memory.ts';

/** On a GPU core's ops do it: what the op keeps for its gradient is the inverse deviation there, and not the variance. */
const batchNormOps = (): typeof batchNormTraining =>
  (tf.findBackend('tensorflow') as TensorflowBackend | null)?.isUsingGpuDevice ? {} : batchNormTraining;

/**
 * Registers the kernels for the backend `tensorflow`, in place of tfjs's where those exist. A second call does nothing.
 * `@tensorflow/tfjs-node` or `-node-gpu` must have been imported; `useBackend('tensorflow')` does both.
 */
export function registerTensorflowKernels(): void {
  registerKernels<TensorflowBackend, tf.TensorInfo>(
    'tensorflow',
    [
      activationGradients,
      batchNormGradients,
      batchNormOps(),
      optimizers,
      descents,
      productSums,
      halfKernels,
      halfStorage,
      stepCodes,
      rowCodes,
      poolCodes,
      ownOps(),
    ],
    [zeros, rounds, steps, ownElementwise(rowSums), convs, pools, views],
  );
}
