/**
 * Codes on their way into int32 words and back: one byte a code, several codes a byte, four bytes a word.
 *
 * Two neighbours lo, hi of `w` bits become one of 2w by v | v >> (8 - w) of the two bytes as one int16, whose lower byte then is
 * lo | hi << w; and back by v | v << (8 - w). TensorFlow runs it on bytes, in int16, which GPUs shift too. Work is done in chunks, so that
 * temporaries stay in the cache and do not show in the peak. Words are moved as float32, as int32 tensors live on the host in CUDA builds.
 */
import { DType, type Handle } from './binding.ts';
import { type Operand, type Ops, type } from './raw.ts';

/** Values at once. A multiple of the codes in any word, and of what TensorFlow aligns slices to. */
export const CHUNK: number = 2 ** 19;

const index = { Index: type(DType.int32) };
const ints = (ops: Ops, values: readonly number[], shape?: readonly number[]): Handle => ops.constant(Int32Array.from(values), shape);

/** `size` of x from `begin`, of the type T. Whole rows are not copied. */
export const slice = (ops: Ops, x: Operand, T: number, begin: readonly number[], size: readonly number[]): Handle =>
  ops.run('Slice', { T: type(T), ...index }, [x, ints(ops, begin), ints(ops, size)]);

/** Joins along `axis`. */
export const concat = (ops: Ops, parts: readonly Handle[], T: number, axis: number): Handle =>
  parts.length === 1
    ? parts[0]!
    : ops.run('ConcatV2', { N: { kind: 'INT', value: parts.length }, T: type(T), Tidx: type(DType.int32) }, [
        ...parts,
        ints(ops, [axis], []),
      ]);

const small = (ops: Ops, value: number, T: number): Handle => ops.cast(ints(ops, [value], []), DType.int32, T);

/** Codes [rows, n], one a byte (of 16 bits: uint16), to words [rows, ceil(n · bits / 32)], as float32. */
export function packWords(ops: Ops, codes: Handle, bits: number): Handle {
  const [rows, n] = codes.shape as [number, number];
  const words = Math.ceil((n * bits) / 32);
  const kind = bits === 16 ? DType.uint16 : DType.uint8;
  const rest = (words * 32) / bits - n;
  const padded =
    rest === 0 ? codes : ops.run('Pad', { T: type(kind), Tpaddings: type(DType.int32) }, [codes, ints(ops, [0, 0, 0, rest], [2, 2])]);
  let bytes = bits === 16 ? ops.bitcast(padded, DType.uint16, DType.uint8) : padded;
  for (let width = bits; width < 8; width *= 2) {
    const pairs = ops.bitcast(ops.reshape(bytes, DType.uint8, [rows, (words * 16) / width, 2]), DType.uint8, DType.int16);
    const I16 = { T: type(DType.int16) };
    const moved = ops.run('RightShift', I16, [pairs, small(ops, 8 - width, DType.int16)]);
    bytes = ops.cast(ops.run('BitwiseOr', I16, [pairs, moved]), DType.int16, DType.uint8);
  }
  return ops.bitcast(ops.reshape(bytes, DType.uint8, [rows, words, 4]), DType.uint8, DType.float);
}

/** The bytes [rows, 4 · words] of words [rows, words] that are held as the type T. */
export const bytesOf = (ops: Ops, words: Operand, T: number): Handle => {
  const [rows, n] = words.shape as [number, number];
  return ops.reshape(ops.bitcast(words, T, DType.uint8), DType.uint8, [rows, 4 * n]);
};

/** Codes [rows, n] as float32, of bytes [rows, …]. */
export function unpackCodes(ops: Ops, bytes: Handle, bits: number, n: number): Handle {
  const rows = bytes.shape[0]!;
  const first = (codes: Handle, T: number): Handle => (codes.shape[1] === n ? codes : slice(ops, codes, T, [0, 0], [rows, n]));
  if (bits === 16) {
    const pairs = ops.bitcast(ops.reshape(bytes, DType.uint8, [rows, bytes.shape[1]! / 2, 2]), DType.uint8, DType.uint16);
    return ops.cast(first(pairs, DType.uint16), DType.uint16, DType.float);
  }
  let codes = bytes;
  const I16 = { T: type(DType.int16) };
  for (let width = 4; width >= bits; width /= 2) {
    const wide = ops.cast(codes, DType.uint8, DType.int16);
    const moved = ops.run('LeftShift', I16, [wide, small(ops, 8 - width, DType.int16)]);
    const both = ops.run('BitwiseOr', I16, [wide, moved]);
    const clean = ops.run('BitwiseAnd', I16, [both, small(ops, (2 ** width - 1) * 257, DType.int16)]);
    codes = ops.reshape(ops.bitcast(clean, DType.int16, DType.uint8), DType.uint8, [rows, 2 * codes.shape[1]!]);
  }
  return ops.cast(first(codes, DType.uint8), DType.uint8, DType.float);
}

/** Runs `each` on stretches of rows, one below the other, and joins what it makes of them: for results much smaller than what they are of. */
export function inChunks(ops: Ops, rows: number, width: number, each: (ops: Ops, from: number, count: number) => Handle): Handle {
  const height = Math.max(1, Math.floor(CHUNK / width));
  const starts = Array.from({ length: Math.ceil(rows / height) }, (_, i) => i * height);
  const parts = starts.map((from) => ops.inner((inner) => each(inner, from, Math.min(height, rows - from))));
  return concat(ops, parts, DType.float, 0);
}

/** Fills float32 [rows, width] by stretches of rows, each in its place: no second copy of the result. */
export function filled(ops: Ops, rows: number, width: number, each: (ops: Ops, from: number, count: number) => Handle): Handle {
  const parts = partsOf(rows, width);
  if (parts === 1) return ops.inner((inner) => each(inner, 0, rows));
  const height = rows / parts;
  const whole = ops.run('Empty', { dtype: type(DType.float), init: { kind: 'BOOL', value: false } }, [ints(ops, [parts, height * width])]);
  for (let part = 0; part < parts; part++)
    ops.free(
      ops.inner((inner) => {
        const made = inner.reshape(each(inner, part * height, height), DType.float, [1, height * width]);
        return inner.run('InplaceUpdate', { T: type(DType.float) }, [whole, ints(inner, [part]), made]);
      }),
    );
  return ops.reshape(whole, DType.float, [rows, width]);
}

/** Stretches of equal height: the fewest of no more than CHUNK values, unless that takes more than four times as many as it should. */
function partsOf(rows: number, width: number): number {
  const least = Math.ceil((rows * width) / CHUNK);
  for (let parts = least; parts <= 4 * least; parts++) if (rows % parts === 0) return parts;
  return 1;
}
