/** tfjs-backend-webgpu, made fit to train: a device with all that the adapter can do, and kernels for what tfjs does badly there. */
import { avgPoolGradients } from '../avg-pool-gradients.ts';
import { registerKernels } from '../kernels.ts';
import { adamWs } from './adamw.ts';
import { arithmetic } from './arithmetic.ts';
import { attentions } from './attention.ts';
import type { Kernels, Stock } from './backend.ts';
import { batchNorms } from './batch-norm.ts';
import { batchNormGradients } from './batch-norm-gradient.ts';
import { batchNormTraining } from './batch-norm-train.ts';
import { casts } from './cast.ts';
import { convolutions } from './conv2d.ts';
import { cumulatives } from './cumulative.ts';
import { depthwiseGradients } from './depthwise-gradients.ts';
import { gelus } from './gelu.ts';
import { halfStorage } from './half-storage.ts';
import { matMuls } from './mat-mul.ts';
import { moves } from './move.ts';
import { poolCodes } from './pool-codes.ts';
import { prods } from './prod.ts';
import { reductions } from './reduce.ts';
import { rowCodes } from './row-codes.ts';
import { rowNorms } from './row-norms.ts';
import { segmentSums } from './segment-sum.ts';
import { descents } from './sgd.ts';
import { softmaxes } from './softmax.ts';
import { stepCodes } from './step-codes.ts';
import { tables } from './tables.ts';
import { unscales } from './unscale.ts';

export type { ConvHalfOptions, HalfType, MatMulHalfOptions } from '../half.ts';
export type { WebGPUBackend } from './backend.ts';
export { isCarrier } from './carrier.ts';
export { dispatch, type Input, type Output, type Program, type Uniform } from './dispatch.ts';
export {
  conv2dHalf,
  conv2dHalfFilterGradient,
  conv2dHalfInputGradient,
  decodeHalf,
  encodeHalf,
  matMulHalf,
} from './half.ts';
export { type HalfSupport, halfUnits, matrixConfigs } from './half-units.ts';
export type { HalfUnits, MatrixShape } from './plan.ts';
export { type PoolUse, poolUse, trimPool } from './pool.ts';

const alone: readonly Kernels[] = [
  cumulatives,
  batchNormGradients,
  batchNormTraining,
  rowNorms,
  gelus,
  attentions,
  adamWs,
  descents,
  halfStorage,
  stepCodes,
  rowCodes,
  poolCodes,
  tables,
  unscales,
];
const beside: readonly ((stock: Stock) => Kernels)[] = [
  arithmetic,
  batchNorms,
  casts,
  matMuls,
  convolutions,
  depthwiseGradients,
  reductions,
  segmentSums,
  moves,
  softmaxes,
  prods,
  avgPoolGradients,
];

/**
 * Registers the kernels for the backend `webgpu`, in place of tfjs's where those exist; a second call does nothing.
 * `@tensorflow/tfjs-backend-webgpu` must have been imported; `useBackend('webgpu')` does both.
 */
export function registerWebgpuKernels(): void {
  registerKernels('webgpu', alone, beside);
}
