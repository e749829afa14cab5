/** What the kernels use of tfjs-backend-wasm's backend object, and small tools to write kernels with. */
import * as tf from '@tensorflow/tfjs-core';

export interface WasmHeap {
  HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(offset: number): void;
  /** Single thread: the module exports its memory. */
  asm?: { readonly memory?: WebAssembly.Memory };
  /** Threads: the memory is shared and made by the loader. */
  wasmMemory?: WebAssembly.Memory;
}

export interface WasmBackend extends tf.KernelBackend {
  readonly wasm: WasmHeap;
  readonly dataIdMap: { get(id: object): { readonly memoryOffset: number; readonly shape: readonly number[] } };
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
}

/** A kernel of this folder: tensors in, one new tensor out, nothing else left behind. */
export type WasmKernel = (inputs: tf.NamedTensorInfoMap, attrs: Attrs, backend: WasmBackend) => tf.TensorInfo;
/** Attributes of a kernel, which tfjs types one kernel at a time. */
export type Attrs = { readonly [name: string]: any };
/** tfjs's own kernel of that name, as it was before ours took its place. */
export type Stock = (kernel: string) => WasmKernel;
export type Kernels = { readonly [kernel: string]: WasmKernel };

/** Byte offset of a tensor in the heap. Valid until the tensor is disposed; a growing heap does not move it. */
export const offset = (backend: WasmBackend, x: tf.TensorInfo): number => backend.dataIdMap.get(x.dataId).memoryOffset;

/** Runs a kernel registered for wasm, ours or tfjs's. The caller disposes the result. */
export function run(backend: WasmBackend, kernel: string, inputs: tf.NamedTensorInfoMap, attrs: Attrs = {}): tf.TensorInfo {
  return tf.getKernel(kernel, 'wasm').kernelFunc({ inputs, backend, attrs: attrs as tf.NamedAttrMap }) as tf.TensorInfo;
}

/** The input of that name, or an error that names it. */
export function input(inputs: tf.NamedTensorInfoMap, name: string): tf.TensorInfo {
  const x = inputs[name];
  if (!x) throw new Error(`[wasm] the kernel's input "${name}" is missing`);
  return x;
}

/** Disposes what went through `temporary` when `f` ends, also by an error. */
export function withTemporaries<T>(backend: WasmBackend, f: (temporary: (x: tf.TensorInfo) => tf.TensorInfo) => T): T {
  const made: tf.TensorInfo[] = [];
  try {
    return f((x) => {
      made.push(x);
      return x;
    });
  } finally {
    for (const { dataId } of made) backend.disposeData(dataId);
  }
}

/** The same data under another shape; owns nothing. */
export const viewAs = (x: tf.TensorInfo, shape: number[]): tf.TensorInfo => ({ dataId: x.dataId, dtype: x.dtype, shape });

/** Throws unless all are float32, which is what the native kernels read. */
export function assertFloat(kernel: string, inputs: tf.NamedTensorInfoMap): void {
  const wrong = Object.keys(inputs).filter((name) => input(inputs, name).dtype !== 'float32');
  if (wrong.length > 0)
    throw new Error(
      `[wasm] ${kernel} got ${wrong.map((name) => `${name}: ${input(inputs, name).dtype}`).join(', ')}; expected float32; cast first`,
    );
}
