/**
 * A row of a packed table in codes, as int32 words: its largest scale (the bits of a float32), the scale of each group of up to 64 values
 * as 8 bits of that (double quantization: Dettmers et al. 2023, arXiv 2305.14314), then the codes. A fifth bit lies in words of its own.
 *
 *     w ≈ top · scale_group / 255 · level[code]
 */
import { type CodeFormat, codes } from './levels.ts';

const MAX_GROUP = 64;

/** Kernels are told of it as an attribute. */
export interface CodeLayout {
  readonly format: CodeFormat;
  readonly columns: number;
  readonly bits: 4 | 5 | 8;
  /** Values that share a scale: a multiple of 4. */
  readonly group: number;
  /** Where codes begin, where fifth bits begin, and where the row ends. */
  readonly codes: number;
  readonly fifths: number;
  readonly words: number;
  /** What codes stand for, but in 8 bits. */
  readonly levels?: readonly number[];
}

/** The layout with the largest groups, up to 64, that divide a row, which is a multiple of {@link stepOf} values. */
export function codeLayout(columns: number, format: CodeFormat): CodeLayout {
  const { bits, levels } = codes[format];
  let group = MAX_GROUP;
  while (columns % group !== 0 || group % 4 !== 0) group -= 4;
  const start = 1 + Math.ceil(columns / group / 4);
  const fifths = start + columns / (bits === 8 ? 4 : 8);
  const words = fifths + (bits === 5 ? columns / 32 : 0);
  return { format, columns, bits, group, codes: start, fifths, words, ...(bits < 8 && { levels: Array.from(levels) }) };
}

/** One word, as the float32 and the int32 of the same bits. */
const view = new Float32Array(1);
const bitsOfWord = new Int32Array(view.buffer);

/** Chooses a code for each value of a row, given the scale of each group. */
export type Rounding = (row: Float32Array, scales: Float32Array) => Uint8Array;

export function writeCodes(
  row: Float32Array,
  layout: CodeLayout,
  words: Int32Array,
  at: number,
  scalesOf: Rescale,
  round?: Rounding,
): void {
  const { columns, bits, group } = layout;
  const scales = scalesOf(row, layout);
  view[0] = scales.reduce((a, b) => Math.max(a, b), 0);
  const top = view[0]!;
  words[at] = bitsOfWord[0]!;
  for (let g = 0; g < scales.length; g++) {
    const part = top === 0 ? 0 : Math.max(1, Math.round((255 * scales[g]!) / top));
    words[at + 1 + (g >> 2)]! |= part << (8 * (g & 3));
    scales[g] = (top * part) / 255;
  }
  const { nearest } = codes[layout.format];
  const chosen = round?.(row, scales) ?? new Uint8Array(columns);
  if (!round) for (let i = 0; i < columns; i++) chosen[i] = nearest(row[i]! / (scales[Math.floor(i / group)]! || 1));
  const [wide, mask] = bits === 8 ? [4, 255] : [8, 15];
  for (let i = 0; i < columns; i++) {
    words[at + layout.codes + Math.floor(i / wide)]! |= (chosen[i]! & mask) << ((32 / wide) * (i % wide));
    if (bits === 5) words[at + layout.fifths + (i >> 5)]! |= (chosen[i]! >> 4) << (i & 31);
  }
}

/** Adds the values of a row of words to `values` from `to`. */
export function addCodes(words: Int32Array, at: number, layout: CodeLayout, values: Float32Array, to: number): void {
  const { columns, bits, group } = layout;
  const { levels } = codes[layout.format];
  bitsOfWord[0] = words[at]!;
  const unit = view[0]! / 255;
  const [wide, mask] = bits === 8 ? [4, 255] : [8, 15];
  for (let start = 0, g = 0; start < columns; start += group, g++) {
    const factor = unit * ((words[at + 1 + (g >> 2)]! >>> (8 * (g & 3))) & 255);
    // four values: half a word, or one of 8 bits each
    for (let i = start; i < start + group; i += 4) {
      const four = words[at + layout.codes + Math.floor(i / wide)]! >>> (wide === 8 ? 4 * (i & 4) : 0);
      const fifths = bits === 5 ? words[at + layout.fifths + (i >> 5)]! >>> (i & 31) : 0;
      for (let j = 0; j < 4; j++) {
        const code = ((four >>> ((32 / wide) * j)) & mask) | (((fifths >>> j) & 1) << 4);
        values[to + i + j]! += levels[code]! * factor;
      }
    }
  }
}

/** The scale of each group of a row. */
export type Rescale = (row: Float32Array, layout: CodeLayout) => Float32Array;

/** Scales from a little above the largest value down: a smaller one cuts off what is far out, and rounds the rest less. */
const SHARES = Array.from({ length: 12 }, (_, i) => 1.05 - 0.03 * i);

/** The scales with the least squared error, each value's error counted `weights` times. */
export const bestScales =
  (weights?: Float64Array): Rescale =>
  (row, { columns, format, group }) => {
    const { levels, nearest } = codes[format];
    const shares = format === 'int8' ? [1] : SHARES;
    const scales = new Float32Array(columns / group);
    for (let g = 0; g < scales.length; g++) {
      let most = 0;
      for (let i = g * group; i < (g + 1) * group; i++) most = Math.max(most, Math.abs(row[i]!));
      let least = Number.POSITIVE_INFINITY;
      for (const share of most === 0 ? [] : shares) {
        const scale = share * most;
        let error = 0;
        for (let i = g * group; i < (g + 1) * group && error < least; i++)
          error += (weights?.[i] ?? 1) * (levels[nearest(row[i]! / scale)]! * scale - row[i]!) ** 2;
        if (error < least) [least, scales[g]] = [error, scale];
      }
    }
    return scales;
  };
