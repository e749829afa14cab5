/**
 * Codes of steps. Where the upper half of a float32 tells its code, a table of those halves does; else the sum of comparisons with the
 * borders, in bytes. TensorFlow's own op for it, Bucketize, takes longer than either and makes int32. Levels come by a table of what each
 * byte stands for. What each kernel computes: `../codes.ts`.
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
    const table = borders.length >= MANY && borders.every(isEdge) ? ops.constant(codesByUpperHalf(borders, codes)) : undefined;
    const words = inChunks(ops, n, 1, (inner, from, count) => {
      const piece = slice(inner, flat, DType.float, [from], [count]);
      const code = table ? lookUp(inner, table, piece) : countAbove(inner, piece, DType.float, borders, codes);
      return inner.reshape(packWords(inner, inner.reshape(code, DType.uint8, [1, count]), bits), DType.float, [stepWords(count, bits)]);
    });
    return ops.leave(ops.bitcast(words, DType.float, DType.int32), 'int32');
  });

/** Borders from which on looking up is faster than comparing. */
const MANY = 8;

/** Whether the next float32 above a border has another upper half. */
function isEdge(border: number): boolean {
  const [bits] = new Int32Array(Float32Array.of(border).buffer) as unknown as [number];
  return border !== 0 && bits >>> 16 !== (bits + Math.sign(border)) >>> 16;
}

/** The code of all float32 with one upper half, which are on one side of an edge. Those of NaN get that of the least. */
function codesByUpperHalf(borders: readonly number[], codes: readonly number[]): Uint8Array {
  const first = new Float32Array(Int32Array.from({ length: 2 ** 16 }, (_, half) => half << 16).buffer); // the nearest to zero of each
  const table = new Uint8Array(2 ** 16).fill(codes[0]!);
  let below = 0;
  const rise = (half: number): void => {
    while (below < borders.length && first[half]! > Math.fround(borders[below]!)) below++;
    table[half] = codes[below]!;
  };
  for (let half = 0xff80; half >= 0x8000; half--) rise(half);
  for (let half = 0; half <= 0x7f80; half++) rise(half);
  return table;
}

/** The entry of a table for the upper half of each of x. */
function lookUp(ops: Ops, table: Handle, x: Handle): Handle {
  const int32 = { T: type(DType.int32) };
  const number = (value: number): Handle => ops.constant(Int32Array.of(value), []);
  const signed = ops.run('RightShift', int32, [ops.bitcast(x, DType.float, DType.int32), number(16)]);
  const half = ops.run('BitwiseAnd', int32, [signed, number(0xffff)]);
  ops.free(signed);
  return gather(ops, table, DType.uint8, half);
}

/** The rows of a table at int32 indices. */
function gather(ops: Ops, table: Handle, T: number, at: Handle): Handle {
  const attrs = { Tparams: type(T), Tindices: type(DType.int32), Taxis: type(DType.int32), batch_dims: int(0) };
  const rows = ops.run('GatherV2', attrs, [table, at, ops.constant(Int32Array.of(0), [])]);
  ops.free(at);
  return rows;
}

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
      const rows = gather(inner, table, DType.float, inner.cast(piece, DType.uint8, DType.int32)); // [bytes, per]
      const found = inner.reshape(rows, DType.float, [rows.shape[0]! * per]);
      const exact = found.shape[0] === count ? found : slice(inner, found, DType.float, [0], [count]);
      return by ? inner.run('Mul', { T: type(DType.float) }, [slice(inner, by, DType.float, [from], [count]), exact]) : exact;
    };
    const unit = n % 256 === 0 ? 256 : n;
    const out = filled(ops, n / unit, unit, (inner, from, count) => level(inner, from * unit, count * unit));
    return ops.leave(ops.reshape(out, DType.float, shape), 'float32');
  });

export const stepCodes: KernelMap<TensorflowBackend, tf.TensorInfo> = { EncodeSteps: encodeSteps, DecodeSteps: decodeSteps };
