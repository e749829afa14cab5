/** What we use of tfjs-node's backend object and of its binding to TensorFlow's C library. */
import type * as tf from '@tensorflow/tfjs-core';

/** Types of TensorFlow's tensors (tensorflow/core/framework/types.proto). tfjs-node exports eight of them; the binding takes all. */
export const DType = {
  float: 1,
  int32: 3,
  uint8: 4,
  int16: 5,
  string: 7,
  int64: 9,
  bool: 10,
  bfloat16: 14,
  uint16: 17,
  half: 19,
  resource: 20,
} as const;

/** A tensor of TensorFlow, of any type. It lives until `deleteTensor(id)`. */
export interface Handle {
  readonly id: number;
  readonly shape: readonly number[];
  readonly dtype: number;
}

interface OpAttr {
  readonly name: string;
  readonly type: number;
  readonly value: unknown;
}

export interface Binding {
  readonly TF_Version: string;
  readonly TF_ATTR_STRING: number;
  readonly TF_ATTR_INT: number;
  readonly TF_ATTR_FLOAT: number;
  readonly TF_ATTR_BOOL: number;
  readonly TF_ATTR_TYPE: number;
  readonly TF_ATTR_SHAPE: number;
  createTensor(shape: readonly number[], dtype: number, values: ArrayBufferView): number;
  deleteTensor(id: number): void;
  tensorDataSync(id: number): Float32Array | Int32Array | Uint8Array;
  executeOp(name: string, attrs: readonly OpAttr[], inputs: readonly number[], outputs: number): Handle[];
}

/** What the backend knows of one tensor of tfjs. `values` wait in JavaScript until an op reads them. */
export interface Entry {
  shape: readonly number[];
  dtype: number;
  id: number;
  values: unknown;
  refCount: number;
}

export interface TensorflowBackend extends tf.KernelBackend {
  readonly binding: Binding;
  readonly isGPUPackage: boolean;
  readonly isUsingGpuDevice: boolean;
  readonly tensorMap: { get(dataId: object): Entry; set(dataId: object, entry: Entry): void; has(dataId: object): boolean };
  getInputTensorIds(tensors: readonly tf.TensorInfo[]): number[];
}
