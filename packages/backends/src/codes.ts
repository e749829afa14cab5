/**
 * The kernels by which values wait for backward as codes, the same on every backend. Codes are packed into int32 words, 32 / bits a
 * word, the first in the lowest bits; such a tensor is opaque, and no op but these may read it. On webgl words are whole numbers of 24
 * bits in float32, 24 / bits codes each.
 *
 *   EncodeSteps      x → codes[number of borders below x]             DecodeSteps      codes → levels[code], times dy if given
 *   QuantizeRows     rows of x → low, step, code = (x − low) / step   DequantizeRows   → low + code · step
 *   SoftmaxGradRows  codes of y, dy → dx                              NormGradRows     codes of x, dy, mean, rstd, scale → dx
 *   MaxPoolIndex     x → place of the largest in its window           MaxPoolIndexGrad codes, dy → dx
 *
 * and of tensorflow alone, where elsewhere ops do:
 *
 *   RowMoments       rows of x → [mean, 1 / √(variance + ε)]          NormScaleGradRows  codes of x, dy, mean, rstd → dscale, doffset
 */

/** Attributes of `EncodeSteps`. `bits` is 1, 2, 4 or 8. */
export interface EncodeStepsAttrs {
  /** Rising. */
  readonly borders: readonly number[];
  /** One more than there are borders. */
  readonly codes: readonly number[];
  readonly bits: number;
}

export interface DecodeStepsAttrs {
  readonly levels: readonly number[];
  readonly bits: number;
  readonly shape: readonly number[];
}

/** `bits` is 1, 2, 4, 8 or 16. */
export interface QuantizeRowsAttrs {
  readonly bits: number;
  /** Values that share a scale, in order; the last row may be shorter. */
  readonly group: number;
  /** Rounds at random, by place and seed; 0 rounds to nearest. */
  readonly seed: number;
}

/** `group` is the length of the last axis where the kernel works by rows. */
export interface RowsAttrs {
  readonly bits: number;
  readonly group: number;
}

export interface DequantizeRowsAttrs extends RowsAttrs {
  readonly shape: readonly number[];
}

/** Words of n codes. */
export const stepWords = (n: number, bits: number): number => Math.ceil((n * bits) / 32);

/** Words of n values in rows, each with its header. */
export function rowWords(n: number, group: number, bits: number): number {
  const [whole, rest] = [Math.floor(n / group), n % group];
  return whole * (1 + stepWords(group, bits)) + (rest > 0 ? 1 + stepWords(rest, bits) : 0);
}

/** By border what it adds to the code, after the first code. */
export const deltasOf = (codes: readonly number[]): readonly number[] => codes.map((code, i) => (i === 0 ? code : code - codes[i - 1]!));
