/**
 * tfjs-backend-wasm, made able to train: the kernels that gradients need and it lacks, right ones for those that are wrong
 * there, fast ones for those that are scalar loops, and an error before its heap overflows.
 */
import { type KernelMap, registerKernels } from '../kernels.ts';
import { attentions } from './attention.ts';
import type { Kernels, Stock, WasmBackend } from './backend.ts';
import { batchNorms, batchNormTraining } from './batch-norm.ts';
import { binaries } from './binary.ts';
import { clips } from './clip.ts';
import { codes } from './codes.ts';
import { conv2dGradients } from './conv2d-gradients.ts';
import { conv3d } from './conv3d.ts';
import { depthwiseGradients } from './depthwise-gradients.ts';
import { dilation2dGradients } from './dilation2d-gradients.ts';
import { einsums } from './einsum.ts';
import { exponentials } from './exponential.ts';
import { fusedConvs } from './fused.ts';
import { gathers } from './gather.ts';
import { halves } from './half.ts';
import { identities } from './identity.ts';
import { logicals } from './logical.ts';
import { matMuls } from './mat-mul.ts';
import { loadNative } from './native.ts';
import { oneHots } from './one-hot.ts';
import { poolGradients } from './pool-gradients.ts';
import { reductions } from './reduce.ts';
import { descents } from './sgd.ts';
import { slices, splits } from './slice.ts';
import { transposes } from './transpose.ts';

export { guardHeap, type HeapUse, heapUse } from './heap-guard.ts';

const alone: readonly KernelMap<WasmBackend>[] = [
  attentions,
  batchNormTraining,
  conv2dGradients,
  conv3d,
  depthwiseGradients,
  poolGradients,
  dilation2dGradients,
  einsums,
  codes,
  halves,
  descents,
  splits,
];
const beside: readonly ((stock: Stock) => Kernels)[] = [
  identities,
  transposes,
  slices,
  matMuls,
  fusedConvs,
  batchNorms,
  reductions,
  binaries,
  exponentials,
  logicals,
  gathers,
  clips,
  oneHots,
];

/**
 * Registers the kernels for the backend `wasm`, in place of tfjs's where those exist. Resolves once they can run; a second
 * call does nothing. `@tensorflow/tfjs-backend-wasm` must have been imported; `useBackend('wasm')` does both.
 */
export async function registerWasmKernels(): Promise<void> {
  await loadNative();
  registerKernels('wasm', alone, beside);
}
