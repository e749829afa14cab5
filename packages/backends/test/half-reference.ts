/** Half precision by its definition, in float64 arithmetic: the nearest multiple of the unit that a value's exponent has, ties to even. */
export interface Format {
  /** Bits of precision, with the leading one. */
  readonly precision: number;
  /** Of the smallest normal number. */
  readonly least: number;
  readonly largest: number;
}

export const formats: { readonly float16: Format; readonly bfloat16: Format } = {
  float16: { precision: 11, least: -14, largest: 65504 },
  bfloat16: { precision: 8, least: -126, largest: 2 ** 127 * (2 - 2 ** -7) },
};

/** The exponent e of 2^e <= |x| < 2^(e+1), exactly. */
function exponentOf(x: number): number {
  const guess = Math.floor(Math.log2(x));
  return 2 ** guess > x ? guess - 1 : 2 ** (guess + 1) <= x ? guess + 1 : guess;
}

export function nearest(x: number, { precision, least, largest }: Format): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const unit = 2 ** (Math.max(least, exponentOf(Math.abs(x))) - precision + 1);
  const scaled = Math.abs(x) / unit; // exact: a power of two
  const below = Math.floor(scaled);
  const rest = scaled - below;
  const size = (below + Number(rest > 0.5 || (rest === 0.5 && below % 2 === 1))) * unit;
  return Math.sign(x) * (size > largest ? Number.POSITIVE_INFINITY : size);
}

/** The value of a half's bits. */
export function decoded(bits: number, { precision, least }: Format): number {
  const digits = precision - 1;
  const sign = bits & 0x8000 ? -1 : 1;
  const [field, mantissa] = [(bits & 0x7fff) >> digits, bits & (2 ** digits - 1)];
  if (field === 2 ** (15 - digits) - 1) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (field === 0 ? mantissa : 2 ** digits + mantissa) * 2 ** (least + Math.max(field, 1) - 1 - digits);
}
