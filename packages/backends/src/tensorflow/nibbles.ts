/**
 * Two 4-bit codes in a byte: byte b = lo + 16 · hi, for codes 2i and 2i + 1.
 *
 * Built from ops that TensorFlow has on GPUs too, which shifts of uint8 are not: packing is arithmetic in half precision, where
 * whole numbers up to 2048 are exact; decoding by a table of 256 pairs [code[b & 15], code[b >> 4]] is one gather, whose only
 * temporary is its int32 index (2 bytes a code) and which is faster than and, shift and stack.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DType, type Handle } from './binding.ts';
import { carry, checkCarrier } from './carrier.ts';
import { currentBackend, int, type Operand, type Ops, type, withOps } from './raw.ts';

const HALF = { T: type(DType.half) };

/** Packs whole numbers 0 … 15 (float32 or int32, any shape, n of them) into a carrier [ceil(n / 2)]. An odd last code is paired with 0. */
export function packNibbles(codes: tf.Tensor): tf.Tensor {
  const from = codes.dtype === 'int32' ? DType.int32 : DType.float;
  return carry(currentBackend('packNibbles'), (ops) => {
    const pairs = ops.reshape(even(ops, ops.cast(codes, from, DType.half), codes.size), DType.half, [Math.ceil(codes.size / 2), 2]);
    // [lo, hi] · [1, 16]: both factors and the sum are exact in half precision
    const weights = ops.cast(ops.constant(Float32Array.of(1, 16), [2, 1]), DType.float, DType.half);
    const bytes = ops.cast(ops.run('MatMul', { T: type(DType.half) }, [pairs, weights]), DType.half, DType.uint8);
    return ops.reshape(bytes, DType.uint8, [Math.ceil(codes.size / 2)]);
  });
}

/** The `size` codes of a carrier that `packNibbles` made, as float32 [size]. */
export const unpackNibbles = (packed: tf.Tensor, size: number): tf.Tensor => decodeNibbles(packed, identity, size);

const identity = Array.from({ length: 16 }, (_, code) => code);

/** What each of the `size` codes stands for: `table[code]`, as float32 [size]. @param table sixteen values, such as NF4's */
export function decodeNibbles(packed: tf.Tensor, table: readonly number[], size: number): tf.Tensor {
  checkCarrier('decodeNibbles', packed);
  if (table.length !== 16 || Math.ceil(size / 2) !== packed.size)
    throw new RangeError(
      `[decodeNibbles] got a table of ${table.length} and ${size} codes in ${packed.size} bytes; expected 16 values, and ${2 * packed.size - 1} or ${2 * packed.size} codes.`,
    );
  const backend = currentBackend('decodeNibbles');
  const info = withOps(backend, (ops) => {
    const pairs = new Float32Array(512);
    for (let byte = 0; byte < 256; byte++) pairs.set([table[byte & 15]!, table[byte >> 4]!], 2 * byte);
    const index = ops.cast(packed, DType.uint8, DType.int32);
    const attrs = { Tparams: type(DType.float), Tindices: type(DType.int32), Taxis: type(DType.int32), batch_dims: int(0) };
    const values = ops.run('GatherV2', attrs, [ops.constant(pairs, [256, 2]), index, ops.constant(Int32Array.of(0), [])]); // [bytes, 2]
    return ops.leave(first(ops, ops.reshape(values, DType.float, [2 * packed.size]), size), 'float32');
  });
  return tf.engine().makeTensorFromTensorInfo(info);
}

/** [n] with a zero behind it if n is odd. */
function even(ops: Ops, x: Operand, n: number): Handle {
  const flat = ops.reshape(x, DType.half, [n]);
  if (n % 2 === 0) return flat;
  return ops.run('Pad', { ...HALF, Tpaddings: type(DType.int32) }, [flat, ops.constant(Int32Array.of(0, 1), [1, 2])]);
}

function first(ops: Ops, x: Handle, n: number): Handle {
  if (x.shape[0] === n) return x;
  const bounds = [ops.constant(Int32Array.of(0)), ops.constant(Int32Array.of(n))];
  return ops.run('Slice', { T: type(DType.float), Index: type(DType.int32) }, [x, ...bounds]);
}
