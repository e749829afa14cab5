/** What the kernels use of tfjs-backend-wasm's backend object, and small tools to write kernels with. */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, allOrNone, input, type Kernel, type KernelMap, type StockKernel } from '../kernels.ts';

export { type Attrs, allOrNone, input, viewAs, withTemporaries } from '../kernels.ts';

export interface WasmHeap {
  HEAPU8: Uint8Array;
  _malloc(bytes: number): number;
  _free(offset: number): void;
  /** Single thread: the module exports its memory. */
  asm?: { readonly memory?: WebAssembly.Memory };
  /** Threads: the memory is shared and made by the loader. */
  wasmMemory?: WebAssembly.Memory;
  /** The table of tensors that tfjs's own kernels read. */
  readonly tfjs: {
    registerTensor(id: number, size: number, memoryOffset: number): void;
    disposeData(id: number): void;
  };
}

export interface WasmBackend extends tf.KernelBackend {
  readonly wasm: WasmHeap;
  readonly dataIdMap: { get(id: object): { readonly id: number; readonly memoryOffset: number; readonly shape: readonly number[] } };
  makeOutput(shape: number[], dtype: tf.DataType): tf.TensorInfo;
}

/** A kernel of this folder: one new tensor out. */
export type WasmKernel = Kernel<WasmBackend, tf.TensorInfo>;
export type Kernels = KernelMap<WasmBackend, tf.TensorInfo>;
export type Stock = StockKernel<WasmBackend, tf.TensorInfo>;

/** Byte offset of a tensor in the heap. Valid until the tensor is disposed; a growing heap does not move it. */
export const offset = (backend: WasmBackend, x: tf.TensorInfo): number => backend.dataIdMap.get(x.dataId).memoryOffset;

/** Float32 tensors of these shapes: all of them, or none. */
export const makeFloats = (backend: WasmBackend, shapes: readonly number[][]): tf.TensorInfo[] =>
  allOrNone(backend, (made) => shapes.map((shape) => made(backend.makeOutput(shape, 'float32'))));

/** Where the named inputs lie; 0 for one that is not given. */
export const places = <const Names extends readonly string[]>(inputs: tf.NamedTensorInfoMap, backend: WasmBackend, names: Names) =>
  names.map((name) => (inputs[name] ? offset(backend, input(inputs, name)) : 0)) as unknown as { [I in keyof Names]: number };

/** Runs a kernel registered for wasm, ours or tfjs's. The caller disposes the result. */
export function run(backend: WasmBackend, kernel: string, inputs: tf.NamedTensorInfoMap, attrs: Attrs = {}): tf.TensorInfo {
  return tf.getKernel(kernel, 'wasm').kernelFunc({ inputs, backend, attrs: attrs as tf.NamedAttrMap }) as tf.TensorInfo;
}

/** Throws unless all are float32, which is what the native kernels read. */
export function assertFloat(kernel: string, inputs: tf.NamedTensorInfoMap): void {
  const wrong = Object.keys(inputs).filter((name) => input(inputs, name).dtype !== 'float32');
  if (wrong.length > 0)
    throw new Error(
      `[wasm] ${kernel} got ${wrong.map((name) => `${name}: ${input(inputs, name).dtype}`).join(', ')}; expected float32; cast first`,
    );
}
