/**
 * Comparisons, masks and where: the gradients of max, relu6, clip, minimum and maximum. tfjs computes each element's place
 * under broadcasting anew.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { byStretches } from './broadcast.ts';
import { native } from './native.ts';

const comparisons = {
  [tf.Equal]: 'equal',
  [tf.NotEqual]: 'notEqual',
  [tf.Less]: 'less',
  [tf.LessEqual]: 'lessEqual',
  [tf.Greater]: 'greater',
  [tf.GreaterEqual]: 'greaterEqual',
} as const;

/** The comparison that says the same with its sides swapped. */
const mirrors = {
  [tf.Equal]: tf.Equal,
  [tf.NotEqual]: tf.NotEqual,
  [tf.Less]: tf.Greater,
  [tf.LessEqual]: tf.GreaterEqual,
  [tf.Greater]: tf.Less,
  [tf.GreaterEqual]: tf.LessEqual,
} as const;

const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const sameShape = (...xs: tf.TensorInfo[]): boolean => xs.every((x) => tf.util.arraysEqual(x.shape, xs[0]?.shape ?? []));

const compare =
  (kernel: keyof typeof comparisons, stock: Stock): WasmKernel =>
  (inputs, attrs, backend) => {
    const [a, b] = [input(inputs, 'a'), input(inputs, 'b')];
    const areFloats = a.dtype === 'float32' && b.dtype === 'float32';
    const kernels = native(backend);
    const [run, mirror] = [kernels[comparisons[kernel]], kernels[comparisons[mirrors[kernel]]]];
    return (areFloats ? byStretches(backend, run, mirror, a, b, 'bool') : undefined) ?? stock(kernel)(inputs, attrs, backend);
  };

export const logicals = (stock: Stock): Kernels => {
  const and: WasmKernel = (inputs, attrs, backend) => {
    const [a, b] = [input(inputs, 'a'), input(inputs, 'b')];
    if (!sameShape(a, b)) return stock(tf.LogicalAnd)(inputs, attrs, backend);
    const out = backend.makeOutput(a.shape, 'bool');
    native(backend).and(offset(backend, a), offset(backend, b), offset(backend, out), size(a));
    return out;
  };
  const not: WasmKernel = (inputs, _, backend) => {
    const x = input(inputs, 'x');
    const out = backend.makeOutput(x.shape, 'bool');
    native(backend).not(offset(backend, x), offset(backend, out), size(x));
    return out;
  };
  const select: WasmKernel = (inputs, attrs, backend) => {
    const [condition, t, e] = [input(inputs, 'condition'), input(inputs, 't'), input(inputs, 'e')];
    if (!sameShape(condition, t, e) || t.dtype !== 'float32' || e.dtype !== 'float32') return stock(tf.Select)(inputs, attrs, backend);
    const out = backend.makeOutput(t.shape, 'float32');
    native(backend).where(offset(backend, condition), offset(backend, t), offset(backend, e), offset(backend, out), size(t));
    return out;
  };
  const names = Object.keys(comparisons) as (keyof typeof comparisons)[];
  return {
    ...Object.fromEntries(names.map((kernel) => [kernel, compare(kernel, stock)])),
    [tf.LogicalAnd]: and,
    [tf.LogicalNot]: not,
    [tf.Select]: select,
  };
};
