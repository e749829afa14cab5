/**
 * Sum and Mean: over axes that are not the last ones, such as the gradient of a bias, where they lie, for which tfjs transposes the whole tensor
 * first; over the last ones a row at a time.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, onCpu, type Stock, viewAs, type WebGPUBackend, type WebGPUKernel } from '../backend.ts';
import { prefersTiles } from '../products/plan.ts';
import { rowPasses } from './rows.ts';
import { sumColumns } from './sum-columns.ts';

export const reductions = (stock: Stock): Kernels => {
  const reduce =
    (kernel: string): WebGPUKernel =>
    (inputs, attrs, backend) => {
      const x = input(inputs, 'x');
      const axes = tf.util.parseAxisParam(attrs['axis'], x.shape);
      const shape = x.shape.flatMap((size, axis) => (axes.includes(axis) ? (attrs['keepDims'] ? [1] : []) : [size]));
      if (tf.util.sizeFromShape(x.shape) === 0) return ofNothing(backend, shape, kernel, x.dtype);
      // Axes of size 1 are there or not: what counts is whether the others are neighbours.
      const wide = x.shape.flatMap((size, axis) => (size === 1 ? [] : [axis]));
      const summed = wide.filter((axis) => axes.includes(axis));
      const first = wide.indexOf(summed[0] ?? -1);
      const between = wide.slice(first, first + summed.length);
      const sizeOf = (list: number[]): number => list.reduce((n, axis) => n * x.shape[axis]!, 1);
      const columns = sizeOf(wide.slice(first + summed.length));
      const neighbours = summed.length > 0 && between.every((axis, i) => axis === summed[i]);
      const rows = sizeOf(summed);
      if (!neighbours || x.dtype !== 'float32' || (columns === 1 && (onCpu(backend, [x]) || rows > LONGEST)))
        return stock(kernel)(inputs, attrs, backend);
      if (columns === 1) return sumRows(backend, x, rows, shape, kernel === tf.Mean);
      return sumColumns(backend, x, { outer: sizeOf(wide.slice(0, first)), rows, shape, scale: kernel === tf.Mean ? 1 / rows : 1 });
    };
  return { [tf.Sum]: reduce(tf.Sum), [tf.Mean]: reduce(tf.Mean) };
};

/** Rows that are longer want more threads than a work group has: tfjs's kernel takes two turns for them. */
const LONGEST = 4096;
/** Shorter rows are a thread's. */
const SHORT = 32;

function sumRows(backend: WebGPUBackend, x: tf.TensorInfo, length: number, shape: number[], isMean: boolean): tf.TensorInfo {
  const { one } = rowPasses(backend, {
    key: isMean ? 'meanOfRow' : 'sumOfRow',
    inputs: { x },
    shape: [tf.util.sizeFromShape(x.shape) / length, length],
    sums: [{ name: 'total', term: 'x[at]' }],
    one: isMean ? 'total / f32(u.columns)' : 'total',
    together: prefersTiles(backend) && length > SHORT,
  });
  return viewAs(one!, shape);
}

/** Sums of no elements are 0, means of none NaN. tfjs fails. */
function ofNothing(backend: WebGPUBackend, shape: number[], kernel: string, of: tf.DataType): tf.TensorInfo {
  const size = tf.util.sizeFromShape(shape);
  if (kernel === tf.Mean) return backend.makeTensorInfo(shape, 'float32', new Float32Array(size).fill(Number.NaN));
  if (of === 'float32') return backend.makeTensorInfo(shape, of, new Float32Array(size));
  return backend.makeTensorInfo(shape, 'int32', new Int32Array(size));
}
