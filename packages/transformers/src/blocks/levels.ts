/**
 * The values that codes of few bits stand for, in [-1, 1]: quantiles of a normal distribution in 4 and 5 bits (NF4: Dettmers et al. 2023,
 * arXiv 2305.14314; NF5 by the same rule), 255 equal steps in 8.
 */
export type CodeFormat = 'nf4' | 'nf5' | 'int8';

export interface Code {
  readonly bits: 4 | 5 | 8;
  readonly levels: Float32Array;
  /** The code of the level nearest to x; beyond [-1, 1] that of the end. */
  nearest(x: number): number;
}

const NF4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0,
  0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
  0.7229568362236023, 1,
];
const NF5 = [
  -1, -0.825841, -0.710251, -0.620254, -0.54477, -0.478629, -0.418967, -0.364012, -0.312582, -0.263834, -0.217142, -0.172015, -0.128056,
  -0.084928, -0.042333, 0, 0.039683, 0.07958, 0.119916, 0.16093, 0.202892, 0.246112, 0.290965, 0.337915, 0.387561, 0.44071, 0.498496,
  0.562617, 0.635805, 0.722957, 0.834416, 1,
];

const BINS = 512;

/** From a bin of equal width to the lowest code in it, then up while the border to the next level is passed. */
function quantiles(bits: 4 | 5, values: readonly number[]): Code {
  const borders = Float64Array.from(values.slice(1), (level, i) => (level + values[i]!) / 2);
  const lowest = Uint8Array.from({ length: BINS }, (_, bin) => borders.filter((border) => border < (2 * bin) / BINS - 1).length);
  return {
    bits,
    levels: Float32Array.from(values),
    nearest(x) {
      let code = lowest[Math.max(0, Math.min(BINS - 1, Math.floor(((x + 1) * BINS) / 2)))]!;
      while (code < borders.length && x > borders[code]!) code++;
      return code;
    },
  };
}

export const codes: { readonly [format in CodeFormat]: Code } = {
  nf4: quantiles(4, NF4),
  nf5: quantiles(5, NF5),
  // 127 steps to each side of 128
  int8: {
    bits: 8,
    levels: Float32Array.from({ length: 256 }, (_, code) => (code - 128) / 127),
    nearest: (x) => Math.round(127 * Math.max(-1, Math.min(1, x))) + 128,
  },
};
