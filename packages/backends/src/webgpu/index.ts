/**
 * tfjs-backend-webgpu, made fit to train: a device with all that the adapter can do, and kernels for what tfjs does badly there.
 *
 * `device` brings it up, and holds its memory; `recording` writes kernels into batches. Kernels: `products` of matrices, `convolution`,
 * `attention`, `batch-norm`, `rows` that are summed and normalised, `elements` one by one, `moves`, `optimizers`; `halves` casts and packs.
 */
import { avgPoolGradients } from '../avg-pool-gradients.ts';
import { registerKernels } from '../kernels.ts';
import { attentions } from './attention/attention.ts';
import type { Kernels, Stock } from './backend.ts';
import { batchNorms } from './batch-norm/batch-norm.ts';
import { batchNormGradients } from './batch-norm/batch-norm-gradient.ts';
import { batchNormTraining } from './batch-norm/batch-norm-train.ts';
import { convolutions } from './convolution/conv2d.ts';
import { depthwiseGradients } from './convolution/depthwise-gradients.ts';
import { poolCodes } from './convolution/pool-codes.ts';
import { arithmetic } from './elements/arithmetic.ts';
import { casts } from './elements/cast.ts';
import { gelus } from './elements/gelu.ts';
import { stepCodes } from './elements/step-codes.ts';
import { halfStorage } from './halves/half-storage.ts';
import { unscales } from './halves/unscale.ts';
import { moves } from './moves/move.ts';
import { adamWs } from './optimizers/adamw.ts';
import { descents } from './optimizers/sgd.ts';
import { matMuls } from './products/mat-mul.ts';
import { tables } from './products/tables.ts';
import { cumulatives } from './rows/cumulative.ts';
import { prods } from './rows/prod.ts';
import { reductions } from './rows/reduce.ts';
import { rowCodes } from './rows/row-codes.ts';
import { rowNorms } from './rows/row-norms.ts';
import { segmentSums } from './rows/segment-sum.ts';
import { softmaxes } from './rows/softmax.ts';

export type { ConvHalfOptions, HalfType, MatMulHalfOptions } from '../half.ts';
export type { WebGPUBackend } from './backend.ts';
export { type PoolUse, poolUse, trimPool } from './device/pool.ts';
export { isCarrier } from './halves/carrier.ts';
export {
  conv2dHalf,
  conv2dHalfFilterGradient,
  conv2dHalfInputGradient,
  decodeHalf,
  encodeHalf,
  matMulHalf,
} from './halves/half.ts';
export { type HalfSupport, halfUnits, matrixConfigs } from './halves/half-units.ts';
export type { HalfUnits, MatrixShape } from './products/plan.ts';
export { dispatch, type Input, type Output, type Program, type Uniform } from './recording/dispatch.ts';

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
