/**
 * Sums over all axes but the last: gradients of biases and norms, means and variances of batches.
 *
 * TensorFlow's op for the gradient of a bias sums rows at the speed of memory, its general sum at a third of that. For Σ a b it has no
 * op, but the filter gradient of a depthwise convolution of one pixel is that sum: without a product of full size in between. Where there are ops of our own,
 * which sum on all threads, those.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Kernel, KernelMap, StockKernel } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { ownNames } from './own-op.ts';
import { int, type Operand, type Ops, text, type, withOps } from './raw.ts';

const T = type(DType.float);
const NHWC = { data_format: text('NHWC') };

/** Whether there is something to share among threads. */
const manyOf = (shape: readonly number[]): boolean => tf.util.sizeFromShape([...shape]) >= 4096;

/** Σ x over all axes but the last, [c]. At least of rank two. */
export const sumRows = ({ run }: Ops, x: Operand): Handle =>
  ownNames().has('SumRows') && manyOf(x.shape) ? run('LeantuneSumRows', {}, [x]) : run('BiasAddGrad', { T, ...NHWC }, [x]);

/** Σ a b over all axes but the last, [c], of two tensors of that shape. */
export function sumOfProducts(ops: Ops, a: Operand, b: Operand, shape: readonly number[]): Handle {
  const { constant, reshape, run } = ops;
  if (ownNames().has('SumOfProducts') && manyOf(shape)) return run('LeantuneSumOfProducts', {}, [a, b]);
  const columns = shape.at(-1)!;
  const rows = tf.util.sizeFromShape([...shape]) / columns;
  const parts = powerOfTwoIn(rows); // summed apart: on several threads, and with less rounding
  if (rows / parts > 4096) return sumRows(ops, reshape(run('Mul', { T }, [a, b]), DType.float, [rows, columns]));
  const attrs = { T, strides: int([1, 1, 1, 1]), dilations: int([1, 1, 1, 1]), padding: text('VALID'), ...NHWC };
  const images = (x: Operand): Handle => reshape(x, DType.float, [parts, rows / parts, 1, columns]);
  const sum = run('DepthwiseConv2dNativeBackpropFilter', attrs, [images(a), constant(Int32Array.of(1, 1, columns, 1)), images(b)]);
  return reshape(sum, DType.float, [columns]);
}

/** The largest power of two that divides n, up to 64. */
const powerOfTwoIn = (n: number): number => Math.min(64, n & -n);

export const productSums: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  SumOfProducts: ({ a, b }, { shape }, backend) =>
    withOps(backend, (ops) => ops.leave(ops.reshape(sumOfProducts(ops, a!, b!, a!.shape), DType.float, shape), 'float32')),
};

export const rowSums = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> => {
  const over =
    (any: Kernel<TensorflowBackend, tf.TensorInfo>, finish: (ops: Ops, sum: Handle, rows: number) => Handle): typeof any =>
    (inputs, attrs, backend) => {
      const x = inputs['x']!;
      const axes = tf.util.parseAxisParam(attrs['axis'], x.shape);
      const columns = x.shape.at(-1) ?? 0;
      const size = tf.util.sizeFromShape(x.shape);
      const last = x.shape.length - 1;
      const leading = last > 0 && axes.length === last && new Set(axes).size === last && !axes.includes(last);
      if (!leading || x.dtype !== 'float32' || size === 0) return any(inputs, attrs, backend);
      return withOps(backend, (ops) => {
        const sum = finish(ops, sumRows(ops, x), size / columns);
        const shape = attrs['keepDims'] ? x.shape.map((_, i) => (i === last ? columns : 1)) : [columns];
        return ops.leave(ops.reshape(sum, DType.float, shape), 'float32');
      });
    };
  const mean = (ops: Ops, sum: Handle, rows: number): Handle => ops.run('RealDiv', { T }, [sum, ops.constant(Float32Array.of(rows), [])]);
  return { [tf.Sum]: over(stock(tf.Sum), (_, sum) => sum), [tf.Mean]: over(stock(tf.Mean), mean) };
};
