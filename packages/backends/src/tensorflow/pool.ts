/**
 * Pooling with padding given by numbers, which tfjs-node refuses: the input is padded, with -∞ for a maximum, and pooled as 'valid'.
 * An average divides by what lies inside the input, and so does its gradient; by the whole window where padding is given per side, as
 * a spec of tfjs-core demands of it.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelMap, StockKernel } from '../kernels.ts';
import { poolInfo2d } from '../pool-window.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { type ConvInfo, type Sides, sides } from './padding.ts';
import { type Attr, int, type Operand, type Ops, text, type, withOps } from './raw.ts';

const T = type(DType.float);
const ints = (ops: Ops, values: readonly number[], shape?: readonly number[]): Handle => ops.constant(Int32Array.from(values), shape);

function pad(ops: Ops, x: Operand, { top, bottom, left, right }: Sides, value: number): Handle {
  const around = ints(ops, [0, 0, top, bottom, left, right, 0, 0], [4, 2]);
  return ops.run('PadV2', { T, Tpaddings: type(DType.int32) }, [x, around, ops.constant(Float32Array.of(value), [])]);
}

/** Takes the padding off again. */
function crop(ops: Ops, x: Operand, { top, left }: Sides, shape: readonly number[]): Handle {
  return ops.run('Slice', { T, Index: type(DType.int32) }, [x, ints(ops, [0, top, left, 0]), ints(ops, shape)]);
}

const windows = (info: ConvInfo): { readonly [name: string]: Attr } => ({
  T,
  ksize: int([1, info.filterHeight, info.filterWidth, 1]),
  strides: int([1, info.strideHeight, info.strideWidth, 1]),
  padding: text('VALID'),
  data_format: text('NHWC'),
});

type Pool = (ops: Ops, inputs: tf.NamedTensorInfoMap, info: ConvInfo, around: Sides) => Handle;

const maxPool: Pool = (ops, { x }, info, around) => ops.run('MaxPool', windows(info), [pad(ops, x!, around, -Infinity)]);

const maxPoolGradient: Pool = (ops, { dy, input, output }, info, around) => {
  const padded = pad(ops, input!, around, -Infinity);
  return crop(ops, ops.run('MaxPoolGrad', windows(info), [padded, output!, dy!]), around, info.inShape);
};

/** Of each window, what lies inside. */
function shares(ops: Ops, info: ConvInfo, around: Sides): Handle {
  const ones = ops.constant(new Float32Array(info.inHeight * info.inWidth).fill(1), [1, info.inHeight, info.inWidth, 1]);
  return ops.run('AvgPool', windows(info), [pad(ops, ones, around, 0)]);
}

const avgPool: Pool = (ops, { x }, info, around) =>
  ops.run('RealDiv', { T }, [ops.run('AvgPool', windows(info), [pad(ops, x!, around, 0)]), shares(ops, info, around)]);

const avgPoolGradient: Pool = (ops, { dy }, info, around) => {
  const { top, bottom, left, right } = around;
  const [batch, height, width, channels] = info.inShape as [number, number, number, number];
  const padded = ints(ops, [batch, height + top + bottom, width + left + right, channels]);
  const scaled = info.padInfo.type === 'EXPLICIT' ? dy! : ops.run('RealDiv', { T }, [dy!, shares(ops, info, around)]);
  return crop(ops, ops.run('AvgPoolGrad', windows(info), [padded, scaled]), around, info.inShape);
};

const kernels: readonly (readonly [kernel: string, input: string, pool: Pool])[] = [
  [tf.MaxPool, 'x', maxPool],
  [tf.MaxPoolGrad, 'input', maxPoolGradient],
  [tf.AvgPool, 'x', avgPool],
  [tf.AvgPoolGrad, 'input', avgPoolGradient],
];

export const pools = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> =>
  Object.fromEntries(
    kernels.map(([kernel, input, pool]) => {
      const plain = stock(kernel);
      return [
        kernel,
        (inputs, attrs, backend) => {
          const info = poolInfo2d(inputs[input]!.shape, attrs);
          const around = sides(info);
          if (!around) return plain(inputs, attrs, backend);
          return withOps(backend, (ops) => ops.leave(pool(ops, inputs, info, around), 'float32'));
        },
      ];
    }),
  );
