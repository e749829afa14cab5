/** Small tools to write kernels of the cpu backend with. */
import type * as tf from '@tensorflow/tfjs-core';

/** What the kernels use of tfjs-backend-cpu's backend object. */
interface CpuBackend extends tf.KernelBackend {
  readonly data: { get(id: object): { readonly values: ArrayLike<number> } };
  makeTensorInfo(shape: number[], dtype: tf.DataType, values: Float32Array | Int32Array): tf.TensorInfo;
}

/** A tensor with its values. */
export interface CpuTensor extends tf.TensorInfo {
  readonly values: ArrayLike<number>;
}

/** Tensors in, one new tensor out. tfjs types attributes one kernel at a time. */
export type CpuKernel = (
  inputs: { readonly [name: string]: CpuTensor | undefined },
  attrs: { readonly [name: string]: any },
  make: CpuBackend['makeTensorInfo'],
) => tf.TensorInfo;

export const values = (x: CpuTensor): ArrayLike<number> => x.values;
export const sizeOf = (x: CpuTensor): number => x.values.length;

export function kernelsOf(kernels: { readonly [name: string]: CpuKernel }): readonly tf.KernelConfig[] {
  return Object.entries(kernels).map(([kernelName, kernel]) => ({
    kernelName,
    backendName: 'cpu',
    kernelFunc: ({ inputs, attrs, backend }) => {
      const cpu = backend as CpuBackend;
      const read = Object.entries(inputs as { readonly [name: string]: tf.TensorInfo })
        .filter(([, x]) => x)
        .map(([name, { dataId, shape, dtype }]) => [name, { dataId, shape, dtype, values: cpu.data.get(dataId).values }] as const);
      return kernel(Object.fromEntries(read), attrs ?? {}, (...args) => cpu.makeTensorInfo(...args));
    },
  }));
}
