/**
 * Carriers: tensors of TensorFlow in types that tfjs does not have, owned by tfjs's engine, so that `tidy`, `dispose` and
 * `tf.memory()` treat them as any other. A carrier is a 'bool' tensor of bytes (one byte a value, which is what it weighs): a half
 * [2, 3] is carried as [2, 3, 2]. Its values are read by the functions that made it; tfjs's own ops must not touch it.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { currentBackend, type Ops, type, withOps } from './raw.ts';

const carriers = new WeakSet<object>();

/** Runs `f` and gives what it returns to the engine as a carrier. `bytes` must be uint8. */
export function carry(backend: TensorflowBackend, f: (ops: Ops) => Handle): tf.Tensor {
  return withOps(backend, (ops) => tf.engine().makeTensorFromTensorInfo(markCarrier(ops.leave(f(ops), 'bool'))));
}

/** Says that a 'bool' tensor is a carrier. */
export function markCarrier(info: tf.TensorInfo): tf.TensorInfo {
  carriers.add(info.dataId);
  return info;
}

/** Whether `x` is a carrier, or another handle on one. */
export const isCarrier = (x: tf.TensorInfo): boolean => carriers.has(x.dataId);

/** Throws unless `x` is a carrier. */
export function checkCarrier(who: string, x: tf.TensorInfo): void {
  if (!isCarrier(x))
    throw new TypeError(`[${who}] got a ${x.dtype} tensor of shape [${x.shape}]; expected what the encoder beside it returned.`);
}

/** The bytes of a carrier, row by row. */
export function readCarrier(x: tf.Tensor): Uint8Array {
  checkCarrier('readCarrier', x);
  const backend = currentBackend('readCarrier');
  return withOps(backend, (ops) => {
    // The binding reads no uint8; int32 are the same bytes, four at a time.
    const fours = Math.ceil(x.size / 4);
    const flat = ops.reshape(x, DType.uint8, [x.size]);
    const around = ops.constant(Int32Array.of(0, 4 * fours - x.size), [1, 2]);
    const padded = ops.run('Pad', { T: type(DType.uint8), Tpaddings: type(DType.int32) }, [flat, around]);
    const words = ops.bitcast(ops.reshape(padded, DType.uint8, [fours, 4]), DType.uint8, DType.int32);
    const { buffer, byteOffset } = backend.binding.tensorDataSync(words.id);
    return new Uint8Array(buffer, byteOffset, x.size).slice();
  });
}

/** A carrier of `bytes`, as `readCarrier` gave them. @param shape that of the carrier, whose size is the number of bytes */
export function makeCarrier(bytes: Uint8Array, shape: readonly number[]): tf.Tensor {
  return carry(currentBackend('makeCarrier'), (ops) => ops.run('Identity', { T: type(DType.uint8) }, [ops.constant(bytes.slice(), shape)]));
}
