/**
 * A frozen table in 4 or 8 bits a value. Each group of up to 64 values along a row has a float32 scale, its largest value; a value is a
 * code for one of some levels in [-1, 1]: 16 quantiles of a normal distribution (NF4: Dettmers et al. 2023, arXiv 2305.14314), or 255
 * equal steps. Codes lie in int32 words: 0.5625 or 1.0625 bytes a value where rows divide by 64.
 *
 *     w ≈ scale_group · level[code]
 */
import * as tf from '@tensorflow/tfjs-core';
import { ensureKernel } from './block.ts';

/** The levels of bitsandbytes: quantiles of N(0, 1), scaled to [-1, 1], with an exact 0. */
const LEVELS = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
  0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
  0.7229568362236023, 1,
] as const;
/** Halfway between two levels. */
const BORDERS = LEVELS.slice(1).map((level, i) => (level + LEVELS[i]!) / 2);
const MAX_GROUP = 64;

export type Bits = 4 | 8;

interface Code {
  readonly levels: Float32Array;
  /** The level nearest to a value in [-1, 1]. */
  nearest(x: number): number;
}

const codes: { readonly [bits in Bits]: Code } = {
  4: {
    levels: new Float32Array(LEVELS),
    nearest(x) {
      let code = 0;
      while (code < BORDERS.length && x > BORDERS[code]!) code++;
      return code;
    },
  },
  // 127 steps to each side of 128
  8: { levels: Float32Array.from({ length: 256 }, (_, code) => (code - 128) / 127), nearest: (x) => Math.round(x * 127) + 128 },
};

/** Values in an int32. */
export const perWord = (bits: Bits): number => 32 / bits;

/** Packed [rows, words] int32, and scales [rows, groups]. */
export interface PackedTable {
  readonly packed: tf.Tensor;
  readonly scale: tf.Tensor;
  readonly bits: Bits;
}

/** The largest group of values, up to 64, that divides a row into whole words; undefined if none does. */
export function groupOf(columns: number, bits: Bits): number | undefined {
  const step = perWord(bits);
  for (let group = MAX_GROUP; group >= step; group -= step) if (columns % group === 0) return group;
  return undefined;
}

/** Rounds each value to the nearest level of its group. */
export function packTable(values: Float32Array, group: number, bits: Bits): { readonly packed: Int32Array; readonly scale: Float32Array } {
  const [{ nearest }, count] = [codes[bits], perWord(bits)];
  const packed = new Int32Array(values.length / count);
  const scale = new Float32Array(values.length / group);
  for (let i = 0; i < values.length; i++) scale[Math.floor(i / group)] = Math.max(scale[Math.floor(i / group)]!, Math.abs(values[i]!));
  for (let i = 0; i < values.length; i++) {
    const code = nearest(values[i]! / (scale[Math.floor(i / group)]! || 1));
    packed[Math.floor(i / count)]! |= code << (bits * (i % count));
  }
  return { packed, scale };
}

/**
 * The values of a packed table, as the kernel `UnpackTable`. Here it reads the words in JavaScript, which suits backends whose tensors are in
 * memory (cpu, wasm, tensorflow); a GPU wants a kernel of its own.
 */
export function unpackTable({ packed, scale, bits }: PackedTable): tf.Tensor {
  ensureKernel<{ bits: Bits }>('UnpackTable', (given, attrs) => [unpack(given['packed']!, given['scale']!, attrs.bits)]);
  return (tf.engine().runKernel('UnpackTable', { packed, scale }, { bits }) as tf.Tensor[])[0]!;
}

function unpack(packed: tf.Tensor, scale: tf.Tensor, bits: Bits): tf.Tensor {
  const [words, scales] = [packed.dataSync() as Int32Array, scale.dataSync() as Float32Array];
  const [{ levels }, count] = [codes[bits], perWord(bits)];
  const [mask, wordsPerGroup] = [2 ** bits - 1, words.length / scales.length];
  const values = new Float32Array(words.length * count);
  for (let i = 0, at = 0; i < words.length; i++) {
    const factor = scales[Math.floor(i / wordsPerGroup)]!;
    for (let rest = words[i]!, k = 0; k < count; k++, rest >>= bits) values[at++] = levels[rest & mask]! * factor;
  }
  return tf.tensor(values, [packed.shape[0]!, packed.shape[1]! * count]);
}

/** Some rows of a packed table, still packed. */
export const rowsOf = ({ packed, scale, bits }: PackedTable, from: number, size: number): PackedTable => ({
  packed: tf.slice(packed, [from, 0], [size, -1]),
  scale: tf.slice(scale, [from, 0], [size, -1]),
  bits,
});

/** The rows of a packed table that `ids` name: [n] int32 -> [n, columns]. */
export const gatherRows = ({ packed, scale, bits }: PackedTable, ids: tf.Tensor): tf.Tensor =>
  unpackTable({ packed: tf.gather(packed, ids), scale: tf.gather(scale, ids), bits });
