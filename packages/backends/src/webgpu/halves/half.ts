/**
 * Half precision: storage at two bytes a value, products and convolutions with their gradients computed in it.
 *
 * float16 is IEEE 754 binary16 (11 bits of precision, largest 65504), bfloat16 the upper half of a float32 (8 bits, its range). Both round to
 * nearest, ties to even, in integer arithmetic: WGSL leaves pack2x16float's rounding and what it does out of range to the device.
 * Every function takes float32 tensors or what `encodeHalf` made of them, and returns float32: operands are rounded on the way into the
 * product, and sums are float32. float16 goes by tensor cores or shader-f16 where the adapter has them: see half-units.ts.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { ConvHalfOptions, HalfType, MatMulHalfOptions } from '../../half.ts';
import { viewAs, type WebGPUBackend, withTemporaries } from '../backend.ts';
import { conv2d, conv2dFilterGradient, conv2dInputGradient } from '../convolution/conv2d.ts';
import { convInfo2d, type Window } from '../convolution/window.ts';
import { matMul } from '../products/mat-mul.ts';
import { type How, prefersTiles } from '../products/plan.ts';
import { carry, halfOf, isCarrier, valueShape } from './carrier.ts';
import { halfStorage } from './half-storage.ts';
import { halfUnits } from './half-units.ts';

/** The halves of a float32 tensor. The caller owns the carrier. */
export const encode = (backend: WebGPUBackend, x: tf.TensorInfo, half: HalfType): tf.TensorInfo =>
  carry(halfStorage.EncodeHalf({ x }, { half }, backend), { half, shape: [...x.shape] });

/** The backend, if it is the current one. */
function currentBackend(who: string): WebGPUBackend {
  if (tf.getBackend() !== 'webgpu')
    throw new Error(`[${who}] the backend is "${tf.getBackend()}"; expected "webgpu". Call useBackend('webgpu') first.`);
  return tf.backend() as WebGPUBackend;
}

/** `x` [...s] in half precision, as an opaque carrier. Values beyond float16's range become infinite. @throws TypeError unless float32 */
export function encodeHalf(x: tf.Tensor, half: HalfType = 'float16'): tf.Tensor {
  if (x.dtype !== 'float32') throw new TypeError(`[encodeHalf] got a ${x.dtype} tensor of shape [${x.shape}]; expected float32.`);
  return own(encode(currentBackend('encodeHalf'), x, half));
}

/** The float32 values [...s] of a carrier that `encodeHalf` made with the same type. */
export function decodeHalf(x: tf.Tensor, half: HalfType = 'float16'): tf.Tensor {
  checkHalfType('decodeHalf', x, half, true);
  return own(halfStorage.DecodeHalf({ codes: x }, { half, shape: valueShape(x) }, currentBackend('decodeHalf')));
}

const own = (info: tf.TensorInfo): tf.Tensor => tf.engine().makeTensorFromTensorInfo(info);

function checkHalfType(who: string, x: tf.TensorInfo, half: HalfType, carrier = false): void {
  const got = halfOf(x) ?? x.dtype;
  if (got === half || (!carrier && got === 'float32')) return;
  const wanted = carrier ? `what encodeHalf returned for ${half}` : `float32, or what encodeHalf returned for ${half}`;
  throw new TypeError(`[${who}] got a ${got} tensor of shape [${valueShape(x)}]; expected ${wanted}.`);
}

/** Runs `f` on operands in half precision: carriers as they are, float32 rounded before, or by a plan that does it as it reads. */
function compute(
  who: string,
  half: HalfType,
  operands: readonly tf.Tensor[],
  f: (backend: WebGPUBackend, how: How, ...operands: tf.TensorInfo[]) => tf.TensorInfo,
): tf.Tensor {
  const backend = currentBackend(who);
  for (const x of operands) checkHalfType(who, x, half);
  const units = half === 'float16' ? halfUnits(backend) : undefined;
  const rounds = units?.f16 === true && prefersTiles(backend);
  return withTemporaries(backend, (temporary) => {
    const halves = operands.map((x) => {
      const shape = valueShape(x);
      return isCarrier(x) || rounds || x.size === 0 ? viewAs(x, shape) : viewAs(temporary(encode(backend, x, half)), shape);
    });
    return own(f(backend, { half: units }, ...halves));
  });
}

/** a [..., m, k] · b [..., k, n] with operands in half precision and sums in float32, as float32. Leading axes broadcast. */
export function matMulHalf(
  a: tf.Tensor,
  b: tf.Tensor,
  { transposeA = false, transposeB = false, half = 'float16' }: MatMulHalfOptions = {},
): tf.Tensor {
  return compute('matMulHalf', half, [a, b], (backend, how, a, b) => matMul(backend, a!, b!, { transposeA, transposeB, ...how }));
}

const geometry = (x: readonly number[], filter: readonly number[], { strides = 1, pad = 'valid' }: ConvHalfOptions): Window =>
  convInfo2d([...x], [...filter], { strides, pad, dilations: 1 });

/** x [batch, height, width, in] * filter [h, w, in, out] with operands in half precision, as float32 [batch, height', width', out]. */
export function conv2dHalf(x: tf.Tensor, filter: tf.Tensor, options: ConvHalfOptions = {}): tf.Tensor {
  const info = geometry(valueShape(x), valueShape(filter), options);
  return compute('conv2dHalf', options.half ?? 'float16', [x, filter], (backend, how, x, filter) =>
    conv2d(backend, x!, filter!, info, {}, how),
  );
}

/** The gradient of `conv2dHalf` with respect to its input of shape `xShape`, from dy and the filter. */
export function conv2dHalfInputGradient(xShape: number[], dy: tf.Tensor, filter: tf.Tensor, options: ConvHalfOptions = {}): tf.Tensor {
  const info = geometry(xShape, valueShape(filter), options);
  return compute('conv2dHalfInputGradient', options.half ?? 'float16', [dy, filter], (backend, how, dy, filter) =>
    conv2dInputGradient(backend, dy!, filter!, info, how),
  );
}

/** The gradient of `conv2dHalf` with respect to its filter of shape `filterShape`, from dy and the input. */
export function conv2dHalfFilterGradient(x: tf.Tensor, dy: tf.Tensor, filterShape: number[], options: ConvHalfOptions = {}): tf.Tensor {
  const info = geometry(valueShape(x), filterShape, options);
  return compute('conv2dHalfFilterGradient', options.half ?? 'float16', [x, dy], (backend, how, x, dy) =>
    conv2dFilterGradient(backend, x!, dy!, info, how),
  );
}
