/**
 * Products in half precision: `HalfBatchMatMul`, `HalfConv2D`, …, see `../half.ts`. On a GPU by TensorFlow's own kernels for halves, which run on
 * tensor cores. On CPUs only a float16 product of matrices, the one that measures faster there than float32 between roundings; the gradient
 * of a float16 filter takes some three hundred times as long (`benchmarks/mixed-precision/tensorflow-halves.ts`).
 */
import * as tf from '@tensorflow/tfjs-core';
import type { HalfKernelAttrs } from '../half.ts';
import type { Attrs, KernelMap } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { type Convolution, convolutions } from './conv.ts';
import { windowAttrs } from './padding.ts';
import { type Attr, bool, type Ops, type, withOps } from './raw.ts';

type Kernels = KernelMap<TensorflowBackend, tf.TensorInfo>;

/** An op of TensorFlow on tensors of type T, and shapes. */
interface Call {
  readonly op: string;
  readonly attrs: { readonly [name: string]: Attr };
  readonly operands: readonly (tf.TensorInfo | readonly number[])[];
}

/** Whether TensorFlow's own kernel for that half is the faster way. */
const isOwn = (op: string, { half }: HalfKernelAttrs, backend: TensorflowBackend): boolean =>
  backend.isUsingGpuDevice || (half === 'float16' && op === 'BatchMatMulV2');

function inHalf(inputs: tf.NamedTensorInfoMap, given: HalfKernelAttrs, backend: TensorflowBackend, call: Call): tf.TensorInfo {
  const half = given.half === 'bfloat16' ? DType.bfloat16 : DType.half;
  const T = isOwn(call.op, given, backend) ? half : DType.float;
  const narrow = (ops: Ops, x: tf.TensorInfo | Handle): Handle => ops.cast(x, DType.float, half);
  const widen = (ops: Ops, x: Handle): Handle => ops.cast(x, half, DType.float);
  const isHalf = (x: tf.TensorInfo): boolean => given.halves.some((name) => inputs[name] === x);
  const operand = (ops: Ops, x: Call['operands'][number]): tf.TensorInfo | Handle => {
    if (!('dataId' in x)) return ops.constant(Int32Array.from(x));
    if (T === half) return narrow(ops, x);
    return isHalf(x) ? x : widen(ops, narrow(ops, x));
  };
  return withOps(backend, (ops) => {
    const operands = call.operands.map((x) => operand(ops, x));
    const y = ops.run(call.op, { T: type(T), ...call.attrs }, operands);
    return ops.leave(widen(ops, T === half ? y : narrow(ops, y)), 'float32');
  });
}

const convolution =
  (op: string, { info: infoOf, operands }: Convolution): Kernels[string] =>
  (inputs, attrs, backend) => {
    const info = infoOf(inputs, attrs);
    return inHalf(inputs, attrs as HalfKernelAttrs, backend, { op, attrs: windowAttrs(info), operands: operands(inputs, info) });
  };

const batchMatMul: Kernels[string] = (inputs, { transposeA, transposeB, ...attrs }: Attrs, backend) =>
  inHalf(inputs, attrs as unknown as HalfKernelAttrs, backend, {
    op: 'BatchMatMulV2',
    attrs: { adj_x: bool(transposeA), adj_y: bool(transposeB) },
    operands: [inputs['a']!, inputs['b']!],
  });

export const halfKernels: Kernels = {
  [`Half${tf.BatchMatMul}`]: batchMatMul,
  ...Object.fromEntries(Object.entries(convolutions).map(([kernel, of]) => [`Half${kernel}`, convolution(kernel, of)])),
};
