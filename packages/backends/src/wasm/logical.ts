/**
 * Comparisons, masks and where: the gradients of relu6, clip, minimum and maximum. tfjs computes each element's
 * place under broadcasting anew; here two shapes are fast, equal ones and one number on the right. The rest goes to tfjs.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, offset, type Stock, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

const comparisons = {
  [tf.Equal]: 'equal',
  [tf.NotEqual]: 'notEqual',
  [tf.Less]: 'less',
  [tf.LessEqual]: 'lessEqual',
  [tf.Greater]: 'greater',
  [tf.GreaterEqual]: 'greaterEqual',
} as const;

const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const sameShape = (...xs: tf.TensorInfo[]): boolean => xs.every((x) => tf.util.arraysEqual(x.shape, xs[0]?.shape ?? []));

const compare =
  (kernel: keyof typeof comparisons, stock: Stock): WasmKernel =>
  (inputs, attrs, backend) => {
    const [a, b] = [input(inputs, 'a'), input(inputs, 'b')];
    const one = size(b) === 1 && b.shape.length <= a.shape.length;
    if (a.dtype !== 'float32' || b.dtype !== 'float32' || !(one || sameShape(a, b))) return stock(kernel)(inputs, attrs, backend);
    const out = backend.makeOutput(a.shape, 'bool');
    native(backend)[comparisons[kernel]](offset(backend, a), offset(backend, b), offset(backend, out), size(a), one ? 0 : 1);
    return out;
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
