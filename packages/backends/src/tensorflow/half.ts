/**
 * Half precision: storage at two bytes a value, products and convolutions with their gradients computed in it.
 *
 * float16 is IEEE 754 binary16 (11 bits of precision, largest 65504), bfloat16 the upper half of a float32 (8 bits, its range).
 * Both round to nearest, ties to even. Every function takes float32 tensors or what `encodeHalf` made of them, and returns float32:
 * operands are converted on the way into the op and its result on the way out, and only those copies are temporary. TensorFlow's CPU
 * kernels sum in float32 or in the half type, as they see fit, so a sum of n products may be off by n roundings.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ConvHalfOptions, HalfType, MatMulHalfOptions } from '../half.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { carry, checkCarrier, isCarrier } from './carrier.ts';
import { type ConvInfo, convInfo, windowAttrs } from './padding.ts';
import { bool, currentBackend, type Ops, type, withOps } from './raw.ts';

const typeOf = { float16: DType.half, bfloat16: DType.bfloat16 } as const;

/** `x` [...s] in half precision, as a carrier [...s, 2]. Values beyond float16's range become infinite. */
export function encodeHalf(x: tf.Tensor, half: HalfType = 'float16'): tf.Tensor {
  return carry(currentBackend('encodeHalf'), (ops) => ops.bitcast(ops.cast(x, DType.float, typeOf[half]), typeOf[half], DType.uint8));
}

/** The float32 values [...s] of a carrier that `encodeHalf` made with the same type. */
export function decodeHalf(x: tf.Tensor, half: HalfType = 'float16'): tf.Tensor {
  checkCarrier('decodeHalf', x);
  return compute('decodeHalf', half, (ops, type) => operand(ops, x, type));
}

/** An operand in half precision: a carrier as it is, a float32 tensor converted. */
const operand = (ops: Ops, x: tf.Tensor, half: number): Handle =>
  isCarrier(x) ? ops.bitcast(x, DType.uint8, half) : ops.cast(x, DType.float, half);

/** The shape of the values, without the two bytes of a carrier. */
const shapeOf = (x: tf.Tensor): number[] => (isCarrier(x) ? x.shape.slice(0, -1) : x.shape);

function compute(who: string, half: HalfType, f: (ops: Ops, type: number) => Handle): tf.Tensor {
  const backend: TensorflowBackend = currentBackend(who);
  const info = withOps(backend, (ops) => ops.leave(ops.cast(f(ops, typeOf[half]), typeOf[half], DType.float), 'float32'));
  return tf.engine().makeTensorFromTensorInfo(info);
}

/** a [..., m, k] · b [..., k, n] computed in half precision, as float32. Leading axes broadcast. */
export function matMulHalf(
  a: tf.Tensor,
  b: tf.Tensor,
  { transposeA = false, transposeB = false, half = 'float16' }: MatMulHalfOptions = {},
): tf.Tensor {
  return compute('matMulHalf', half, (ops, T) => {
    const attrs = { T: type(T), adj_x: bool(transposeA), adj_y: bool(transposeB) };
    return ops.run('BatchMatMulV2', attrs, [operand(ops, a, T), operand(ops, b, T)]);
  });
}

const geometry = (x: number[], filter: number[], { strides = 1, pad = 'valid' }: ConvHalfOptions): ConvInfo =>
  convInfo(x, filter, { strides, pad, dilations: 1 });

/** x [batch, height, width, in] * filter [h, w, in, out] computed in half precision, as float32 [batch, height', width', out]. */
export function conv2dHalf(x: tf.Tensor, filter: tf.Tensor, options: ConvHalfOptions = {}): tf.Tensor {
  const info = geometry(shapeOf(x), shapeOf(filter), options);
  return compute('conv2dHalf', options.half ?? 'float16', (ops, T) =>
    ops.run('Conv2D', { T: type(T), ...windowAttrs(info) }, [operand(ops, x, T), operand(ops, filter, T)]),
  );
}

/** The gradient of `conv2dHalf` with respect to its input of shape `xShape`, from dy and the filter. */
export function conv2dHalfInputGradient(xShape: number[], dy: tf.Tensor, filter: tf.Tensor, options: ConvHalfOptions = {}): tf.Tensor {
  const info = geometry(xShape, shapeOf(filter), options);
  return compute('conv2dHalfInputGradient', options.half ?? 'float16', (ops, T) =>
    ops.run('Conv2DBackpropInput', { T: type(T), ...windowAttrs(info) }, [
      ops.constant(Int32Array.from(xShape)),
      operand(ops, filter, T),
      operand(ops, dy, T),
    ]),
  );
}

/** The gradient of `conv2dHalf` with respect to its filter of shape `filterShape`, from dy and the input. */
export function conv2dHalfFilterGradient(x: tf.Tensor, dy: tf.Tensor, filterShape: number[], options: ConvHalfOptions = {}): tf.Tensor {
  const info = geometry(shapeOf(x), filterShape, options);
  return compute('conv2dHalfFilterGradient', options.half ?? 'float16', (ops, T) =>
    ops.run('Conv2DBackpropFilter', { T: type(T), ...windowAttrs(info) }, [
      operand(ops, x, T),
      ops.constant(Int32Array.from(filterShape)),
      operand(ops, dy, T),
    ]),
  );
}
