/**
 * Any op of TensorFlow, in any type, on tensors of tfjs.
 *
 * tfjs-node reads and makes tensors of six types; its binding runs every op on every type, as numbered handles that are never
 * collected. `withOps` owns the handles made inside it: they go when it ends, also by an error, but for the one that leaves.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';

/** One attribute of an op: `{ T: type(DType.half), strides: int([1, 1]) }`. */
export interface Attr {
  readonly kind: 'TYPE' | 'INT' | 'FLOAT' | 'BOOL' | 'STRING' | 'SHAPE';
  readonly value: unknown;
}
export const type = (value: number): Attr => ({ kind: 'TYPE', value });
export const int = (value: number | readonly number[]): Attr => ({ kind: 'INT', value });
export const float = (value: number | readonly number[]): Attr => ({ kind: 'FLOAT', value });
export const bool = (value: boolean): Attr => ({ kind: 'BOOL', value });
export const text = (value: string): Attr => ({ kind: 'STRING', value });
export const shape = (value: readonly number[]): Attr => ({ kind: 'SHAPE', value });

/** A tensor of tfjs, or a handle made by an op before. */
export type Operand = tf.TensorInfo | Handle;

export interface Ops {
  /** Runs an op with one output. @throws Error with TensorFlow's message; BackendError `'out-of-memory'` */
  run(name: string, attrs: { readonly [name: string]: Attr }, inputs: readonly Operand[]): Handle;
  /** Runs an op with any number of outputs. */
  runMany(name: string, attrs: { readonly [name: string]: Attr }, inputs: readonly Operand[], outputs: number): Handle[];
  /** A constant. int32 from an Int32Array, float32 from a Float32Array, uint8 from a Uint8Array. */
  constant(values: Int32Array | Float32Array | Uint8Array, shape?: readonly number[]): Handle;
  cast(x: Operand, from: number, to: number): Handle;
  /** The same bytes as another type, without a copy; a narrower type adds an axis at the end. */
  bitcast(x: Operand, from: number, to: number): Handle;
  /** The same values in another shape, without a copy. */
  reshape(x: Operand, dtype: number, shape: readonly number[]): Handle;
  /** Hands a handle over to tfjs's engine, as a tensor of `dtype` whose `dispose` frees it. */
  leave(handle: Handle, dtype: tf.DataType): tf.TensorInfo;
  /** Frees a handle before the end. */
  free(handle: Handle): void;
  /** Keeps a handle alive past the end; the caller frees it. */
  release(handle: Handle): Handle;
  /** Runs `f` with ops of its own: what it makes goes when it ends, but for what it returns. */
  inner(f: (ops: Ops) => Handle): Handle;
}

/** Runs `f`; whatever it made and did not hand over is freed when it ends, however it ends. */
export function withOps<T>(backend: TensorflowBackend, f: (ops: Ops) => T): T {
  const { binding } = backend;
  const alive = new Set<number>();
  const own = (handle: Handle): Handle => {
    alive.add(handle.id);
    return handle;
  };
  const idOf = (x: Operand): number => ('id' in x && !('dataId' in x) ? x.id : backend.getInputTensorIds([x as tf.TensorInfo])[0]!);
  const runMany: Ops['runMany'] = (name, attrs, inputs, outputs) => {
    const list = Object.entries(attrs).map(([name, { kind, value }]) => ({ name, type: binding[`TF_ATTR_${kind}`], value }));
    return binding.executeOp(name, list, inputs.map(idOf), outputs).map(own);
  };
  const run: Ops['run'] = (name, attrs, inputs) => runMany(name, attrs, inputs, 1)[0]!;
  const constant: Ops['constant'] = (values, shape = [values.length]) => {
    const dtype = values instanceof Int32Array ? DType.int32 : values instanceof Float32Array ? DType.float : DType.uint8;
    return own({ id: binding.createTensor(shape, dtype, values), shape, dtype });
  };
  const release: Ops['release'] = (handle) => {
    alive.delete(handle.id);
    return handle;
  };
  const ops: Ops = {
    run,
    runMany,
    constant,
    release,
    cast: (x, from, to) => run('Cast', { SrcT: type(from), DstT: type(to), Truncate: bool(false) }, [x]),
    bitcast: (x, from, to) => run('Bitcast', { T: type(from), type: type(to) }, [x]),
    reshape: (x, dtype, shape) => run('Reshape', { T: type(dtype), Tshape: type(DType.int32) }, [x, constant(Int32Array.from(shape))]),
    leave(handle, dtype) {
      const dataId = {};
      const { id, shape, dtype: held } = release(handle);
      backend.tensorMap.set(dataId, { id, shape, dtype: held, values: null, refCount: 1 });
      return { dataId, shape: [...shape], dtype };
    },
    free: (handle) => binding.deleteTensor(release(handle).id),
    inner: (f) => own(withOps(backend, (ops) => ops.release(f(ops)))),
  };
  try {
    return f(ops);
  } finally {
    for (const id of alive) binding.deleteTensor(id);
  }
}

/** The backend, if it is the current one. */
export function currentBackend(who: string): TensorflowBackend {
  if (tf.getBackend() !== 'tensorflow')
    throw new Error(`[${who}] the backend is "${tf.getBackend()}"; expected "tensorflow". Call useBackend('tensorflow') first.`);
  return tf.backend() as unknown as TensorflowBackend;
}
