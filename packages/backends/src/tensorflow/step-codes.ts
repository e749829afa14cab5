/**
 * Codes of steps. A code is one plus the sum of comparisons with the borders, in bytes: TensorFlow's own op for it, Bucketize, takes ten times
 * as long and makes int32. Levels come by a table of what each byte stands for. What each kernel computes: `../codes.ts`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { deltasOf, stepWords } from '../codes.ts';
import { input, type KernelMap } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { bytesOf, filled, inChunks, packWords, slice } from './code-bytes.ts';
import { int, type Operand, type Ops, type, withOps } from './raw.ts';

const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const bytes = { T: type(DType.uint8) };
/** The smallest normal float32: TensorFlow's kernels take what is nearer to zero for zero. */
const SMALLEST = 2 ** -126;

const encodeSteps: KernelMap<TensorflowBackend, tf.TensorInfo>[string] = (inputs, { borders, codes, bits }, backend) =>
  withOps(backend, (ops) => {
    const x = input(inputs, 'x');
    const n = size(x);
    const flat = ops.reshape(x, DType.float, [n]);
    const words = inChunks(ops, n, 1, (inner, from, count) => {
      const piece = slice(inner, flat, DType.float, [from], [count]);
      const code = countAbove(inner, piece, DType.float, borders, codes);
      return inner.reshape(packWords(inner, inner.reshape(code, DType.uint8, [1, count]), bits), DType.float, [stepWords(count, bits)]);
    });
    return ops.leave(ops.bitcast(words, DType.float, DType.int32), 'int32');
  });

/** codes[number of borders below each of x], as uint8. */
export function countAbove(ops: Ops, x: Operand, T: number, borders: readonly number[], codes: readonly number[]): Handle {
  const [first = 0, ...deltas] = deltasOf(codes);
  if (deltas.length === 0)
    return ops.run('Fill', { ...bytes, index_type: type(DType.int32) }, [
      ops.constant(Int32Array.from(x.shape)),
      ops.constant(Uint8Array.of(first), []),
    ]);
  const byte = (value: number): Handle => ops.constant(Uint8Array.of(value), []);
  const above = (border: number): Handle => {
    const [op, at] = Math.abs(border) < SMALLEST && border < 0 ? ['GreaterEqual', 0] : ['Greater', border];
    const number = T === DType.float ? ops.constant(Float32Array.of(at), []) : ops.constant(Int32Array.of(at), []);
    const passed = ops.run(op, { T: type(T) }, [x, number]);
    const as = ops.cast(passed, DType.bool, DType.uint8);
    ops.free(passed);
    return as;
  };
  let sum: Handle = byte(first);
  deltas.forEach((delta, i) => {
    if (delta === 0) return;
    const passed = above(borders[i]!);
    const term = Math.abs(delta) === 1 ? passed : ops.run('Mul', bytes, [passed, byte(Math.abs(delta))]);
    const next = ops.run(delta > 0 ? 'AddV2' : 'Sub', bytes, [sum, term]);
    for (const gone of new Set([passed, term, sum])) ops.free(gone);
    sum = next;
  });
  return sum;
}

const decodeSteps: typeof encodeSteps = (inputs, { levels, bits, shape }, backend) =>
  withOps(backend, (ops) => {
    const codes = input(inputs, 'codes');
    const dy = inputs['dy'];
    const n = tf.util.sizeFromShape(shape);
    const per = 8 / bits;
    const table = ops.constant(
      Float32Array.from({ length: 256 * per }, (_, i) => levels[(Math.floor(i / per) >> ((i % per) * bits)) & (2 ** bits - 1)] ?? 0),
      [256, per],
    );
    const words = size(codes);
    const flat = bytesOf(ops, ops.reshape(codes, DType.int32, [1, words]), DType.int32); // [1, 4 · words]
    const all = ops.reshape(flat, DType.uint8, [4 * words]);
    const by = dy && ops.reshape(dy, DType.float, [n]);
    const level = (inner: Ops, from: number, count: number): Handle => {
      const piece = slice(inner, all, DType.uint8, [from / per], [Math.ceil(count / per)]);
      const attrs = { Tparams: type(DType.float), Tindices: type(DType.int32), Taxis: type(DType.int32), batch_dims: int(0) };
      const at = inner.cast(piece, DType.uint8, DType.int32);
      const rows = inner.run('GatherV2', attrs, [table, at, inner.constant(Int32Array.of(0), [])]); // [bytes, per]
      inner.free(at);
      const found = inner.reshape(rows, DType.float, [rows.shape[0]! * per]);
      const exact = found.shape[0] === count ? found : slice(inner, found, DType.float, [0], [count]);
      return by ? inner.run('Mul', { T: type(DType.float) }, [slice(inner, by, DType.float, [from], [count]), exact]) : exact;
    };
    const unit = n % 256 === 0 ? 256 : n;
    const out = filled(ops, n / unit, unit, (inner, from, count) => level(inner, from * unit, count * unit));
    return ops.leave(ops.reshape(out, DType.float, shape), 'float32');
  });

export const stepCodes: KernelMap<TensorflowBackend, tf.TensorInfo> = { EncodeSteps: encodeSteps, DecodeSteps: decodeSteps };
