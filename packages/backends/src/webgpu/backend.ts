/** What we use of tfjs-backend-webgpu's backend object, and small tools to write kernels with. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs, Kernel, KernelMap, StockKernel } from '../kernels.ts';
import type { GpuBuffer, GpuDevice, GpuEncoder, GpuPass } from './device/gpu.ts';

export { type Attrs, input, viewAs, withTemporaries } from '../kernels.ts';

/** Where the values of a tensor are: `values` on the CPU, or `resource` on the GPU; after data() in both. */
export interface TensorData {
  values: tf.backend_util.BackendValues | null;
  resource?: GpuBuffer | null;
  readonly shape: number[];
  readonly dtype: tf.DataType;
  refCount: number;
}

export interface BufferManager {
  freeBuffers: Map<string, GpuBuffer[]>;
  usedBuffers: Map<string, GpuBuffer[]>;
  numFreeBuffers: number;
  /** In tensors, and waiting for the open batch to be submitted. */
  numBytesUsed: number;
  /** `numBytesUsed` and the idle ones of the pool. */
  numBytesAllocated: number;
  acquireBuffer(size: number, usage: number, mappedAtCreation?: boolean, reuse?: boolean): GpuBuffer;
  releaseBuffer(buffer: GpuBuffer, reuse?: boolean): void;
}

/** What is used of tfjs's webgpu backend: parts of its class that are no public API. */
export interface WebGPUBackend extends tf.KernelBackend {
  readonly device: GpuDevice;
  readonly queue: GpuDevice['queue'];
  readonly bufferManager: BufferManager;
  readonly tensorMap: { get(dataId: object): TensorData; has(dataId: object): boolean };
  commandQueueOwnedIds: { add(dataId: object): unknown; has(dataId: object): boolean };
  uniformPendingDisposal: GpuBuffer[];
  commandEncoder: GpuEncoder | null;
  computePassEncoder: GpuPass | null;
  dispatchCountInPass: number;
  activeTimers?: { name: string; query: Promise<number> }[];
  readonly supportTimestampQuery: boolean;
  querySet: object | null;
  readonly querySetCount: number;
  makeTensorInfo(shape: number[], dtype: tf.DataType, values?: tf.backend_util.BackendValues): tf.TensorInfo;
  /** tfjs's own programs. */
  runWebGPUProgram(
    program: { readonly outputShape: number[] },
    inputs: readonly tf.TensorInfo[],
    dtype: tf.DataType,
    uniforms?: unknown,
    output?: tf.TensorInfo,
  ): tf.TensorInfo;
  /** Of tfjs's own programs, by key. */
  pipelineCache: { [shaderKey: string]: unknown };
  /** The end of `runWebGPUProgram`, once the program's pipeline is there. */
  recordAndSubmit(program: { readonly shaderKey: string }, ...rest: unknown[]): void;
  uploadToGPU(dataId: object): void;
  ensureCommandEncoderReady(): void;
  endComputePassEncoder(): void;
  submitQueue(): void;
  getQueryTime(): Promise<number>;
}

/** A kernel of this folder. */
export type WebGPUKernel = Kernel<WebGPUBackend>;
export type Kernels = KernelMap<WebGPUBackend>;
export type Stock = StockKernel<WebGPUBackend>;

/** Runs a kernel registered for webgpu, ours or tfjs's. The caller disposes the result. */
export function run(backend: WebGPUBackend, kernel: string, inputs: tf.NamedTensorInfoMap, attrs: Attrs = {}): tf.TensorInfo {
  return tf.getKernel(kernel, 'webgpu').kernelFunc({ inputs, backend, attrs: attrs as tf.NamedAttrMap }) as tf.TensorInfo;
}

/** Whether tfjs would compute on the CPU what has these inputs: its own rule. */
export const onCpu = (backend: tf.KernelBackend, inputs: readonly tf.TensorInfo[]): boolean =>
  (backend as unknown as { shouldExecuteOnCPU(inputs: readonly tf.TensorInfo[]): boolean }).shouldExecuteOnCPU(inputs);
