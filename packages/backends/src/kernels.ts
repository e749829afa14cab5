/** What a kernel is, for every backend, and how ours take the place of tfjs's. */
import * as tf from '@tensorflow/tfjs-core';

/** Attributes of a kernel, which tfjs types one kernel at a time. */
export type Attrs = { readonly [name: string]: any };
/** Tensors in, new tensors out, nothing else left behind. */
export type Kernel<B, Result = tf.TensorInfo | tf.TensorInfo[]> = (inputs: tf.NamedTensorInfoMap, attrs: Attrs, backend: B) => Result;
export type KernelMap<B, Result = tf.TensorInfo | tf.TensorInfo[]> = { readonly [kernel: string]: Kernel<B, Result> };
/** tfjs's own kernel of that name, as it was before ours took its place. */
export type StockKernel<B, Result = tf.TensorInfo | tf.TensorInfo[]> = (kernel: string) => Kernel<B, Result>;

const ours = new WeakSet<tf.KernelFunc>();

/**
 * Registers kernels for the backend `name`, in place of tfjs's where those exist: families that stand `alone`, and families that go
 * `beside` tfjs's kernels and are made from them. A second call does nothing.
 */
export function registerKernels<B, Result extends tf.TensorInfo | tf.TensorInfo[]>(
  name: string,
  alone: readonly KernelMap<B>[],
  beside: readonly ((stock: StockKernel<B, Result>) => KernelMap<B, Result>)[],
): void {
  const stockOf = new Map((tf.getKernelsForBackend(name) ?? []).map((config) => [config.kernelName, config]));
  if ([...stockOf.values()].some(({ kernelFunc }) => ours.has(kernelFunc))) return;
  const stock: StockKernel<B, Result> = (kernel) => {
    const config = stockOf.get(kernel);
    if (!config)
      throw new Error(
        `[${name}] tfjs's kernel ${kernel} is missing; import '@tensorflow/tfjs-backend-${name}' (^4.22) before our kernels are registered`,
      );
    return (inputs, attrs, backend) => config.kernelFunc({ inputs, attrs: attrs as tf.NamedAttrMap, backend: backend as object }) as Result;
  };
  const kernels: KernelMap<B> = Object.assign({}, ...alone, ...beside.map((make) => make(stock)));
  for (const [kernelName, kernel] of Object.entries(kernels)) {
    const { setupFunc, disposeFunc } = stockOf.get(kernelName) ?? {};
    const kernelFunc: tf.KernelFunc = ({ inputs, attrs, backend }) => kernel(inputs, (attrs ?? {}) as Attrs, backend as B);
    ours.add(kernelFunc);
    if (stockOf.has(kernelName)) tf.unregisterKernel(kernelName, name);
    tf.registerKernel({
      kernelName,
      backendName: name,
      kernelFunc,
      ...(setupFunc && { setupFunc }),
      ...(disposeFunc && { disposeFunc }),
    });
  }
}

interface Disposer {
  disposeData(dataId: object): boolean;
}
type Noted = (x: tf.TensorInfo) => tf.TensorInfo;

/** Disposes what went through `temporary` when `f` ends, also by an error. */
export function withTemporaries<T>(backend: Disposer, f: (temporary: Noted) => T): T {
  const made: tf.TensorInfo[] = [];
  try {
    return f(notedIn(made));
  } finally {
    disposeAll(backend, made);
  }
}

/** Disposes what went through `made` if `f` throws: all outputs of a kernel, or none. */
export function allOrNone<T>(backend: Disposer, f: (made: Noted) => T): T {
  const made: tf.TensorInfo[] = [];
  try {
    return f(notedIn(made));
  } catch (error) {
    disposeAll(backend, made);
    throw error;
  }
}

function notedIn(list: tf.TensorInfo[]): Noted {
  return (x) => {
    list.push(x);
    return x;
  };
}

function disposeAll(backend: Disposer, made: readonly tf.TensorInfo[]): void {
  for (const { dataId } of made) backend.disposeData(dataId);
}

/** The same data under another shape; owns nothing. */
export const viewAs = (x: tf.TensorInfo, shape: number[]): tf.TensorInfo => ({ dataId: x.dataId, dtype: x.dtype, shape });

/** The input of that name, or an error that names it. */
export function input(inputs: tf.NamedTensorInfoMap, name: string): tf.TensorInfo {
  const x = inputs[name];
  if (!x) throw new Error(`[backends] the kernel's input "${name}" is missing`);
  return x;
}
