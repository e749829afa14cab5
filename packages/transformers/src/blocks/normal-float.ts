/**
 * A frozen table in 4 bits a value: NF4 (Dettmers et al. 2023, arXiv 2305.14314). The 16 levels are quantiles of a normal distribution,
 * and each group of values along a row has a scale. Eight values to an int32, a float32 scale to a group of up to 64:
 * 0.5625 bytes a value where rows divide by 64.
 *
 *     w ≈ scale_group · level[code]
 *
 * What differs: the scale is not the largest value of the group, but the share of it that loses least. What a group cuts off at its end
 * its middle gains, which is where most values are.
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
/** Values in an int32. */
export const PER_WORD = 8;

/** Packed [rows, columns / 8] int32, and scales [rows, groups]. */
export interface PackedTable {
  readonly packed: tf.Tensor;
  readonly scale: tf.Tensor;
}

/** The largest group of values, up to 64, that divides a row into whole words; undefined if none does. */
export function groupOf(columns: number): number | undefined {
  for (let group = MAX_GROUP; group >= PER_WORD; group -= PER_WORD) if (columns % group === 0) return group;
  return undefined;
}

/** What a group's largest value is multiplied by to give its scale: the one of the least squared error is taken. */
const SHARES = [1, 0.96, 0.92, 0.88, 0.84, 0.8];

function codeOf(x: number): number {
  let code = 0;
  for (const border of BORDERS) code += Number(x > border);
  return code;
}

/** The scale of a group that loses least. */
function scaleOf(values: Float32Array): number {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  if (largest === 0) return 0;
  let [best, least] = [largest, Number.POSITIVE_INFINITY];
  for (const share of SHARES) {
    const scale = Math.fround(largest * share);
    const error = values.reduce((sum, value) => sum + (value - scale * LEVELS[codeOf(value / scale)]!) ** 2, 0);
    if (error < least) [best, least] = [scale, error];
  }
  return best;
}

/** Rounds each value to the nearest level of its group. */
export function packTable(values: Float32Array, group: number): { readonly packed: Int32Array; readonly scale: Float32Array } {
  const packed = new Int32Array(values.length / PER_WORD);
  const scale = Float32Array.from({ length: values.length / group }, (_, i) => scaleOf(values.subarray(i * group, (i + 1) * group)));
  for (let i = 0; i < values.length; i++) packed[i >> 3]! |= codeOf(values[i]! / (scale[Math.floor(i / group)]! || 1)) << (4 * (i & 7));
  return { packed, scale };
}

/**
 * The values of a packed table, as the kernel `NormalFloatUnpack`. Here it reads the words in JavaScript, which suits backends whose tensors
 * are in memory (cpu, wasm, tensorflow); a GPU wants a kernel of its own.
 */
export function unpackTable({ packed, scale }: PackedTable): tf.Tensor {
  ensureKernel<object>('NormalFloatUnpack', ({ packed: words, scale: scales }) => [unpack(words!, scales!)]);
  return (tf.engine().runKernel('NormalFloatUnpack', { packed, scale }) as tf.Tensor[])[0]!;
}

function unpack(packed: tf.Tensor, scale: tf.Tensor): tf.Tensor {
  const [words, scales] = [packed.dataSync() as Int32Array, scale.dataSync() as Float32Array];
  const values = new Float32Array(words.length * PER_WORD);
  const wordsPerGroup = words.length / scales.length;
  const levels = new Float32Array(LEVELS);
  for (let i = 0, at = 0; i < words.length; i++) {
    const factor = scales[Math.floor(i / wordsPerGroup)]!;
    for (let rest = words[i]!, k = 0; k < PER_WORD; k++, rest >>= 4) values[at++] = levels[rest & 15]! * factor;
  }
  return tf.tensor(values, [packed.shape[0]!, packed.shape[1]! * PER_WORD]);
}

/** Some rows of a packed table, still packed. */
export const rowsOf = ({ packed, scale }: PackedTable, from: number, size: number): PackedTable => ({
  packed: tf.slice(packed, [from, 0], [size, -1]),
  scale: tf.slice(scale, [from, 0], [size, -1]),
});

/** The rows of a packed table that `ids` name: [n] int32 -> [n, columns]. */
export const gatherRows = ({ packed, scale }: PackedTable, ids: tf.Tensor): tf.Tensor =>
  unpackTable({ packed: tf.gather(packed, ids), scale: tf.gather(scale, ids) });
