/** One row of values as codes between its smallest and its largest, under a header of two bfloat16. */

const { fround } = Math;
const pair = new Uint32Array(1);
const float = new Float32Array(pair.buffer);

function bitsOf(value: number): number {
  float[0] = value;
  return pair[0]!;
}

function floatOf(bits: number): number {
  pair[0] = bits;
  return float[0]!;
}

/** In [0, 1), from the place of the value and a seed: Jarzynski and Olano 2020, "Hash functions for GPU rendering" (pcg). */
function chance(place: number, seed: number): number {
  const state = (Math.imul(place ^ seed, 747796405) + 2891336453) >>> 0;
  const word = Math.imul((state >>> ((state >>> 28) + 4)) ^ state, 277803737) >>> 0;
  return (((word >>> 22) ^ word) >>> 8) * 2 ** -24;
}

/** Writes `size` values from `start` as words from `at` on; returns the place after them. Seed 0 rounds to nearest. */
export function quantize(
  x: ArrayLike<number>,
  start: number,
  size: number,
  bits: number,
  seed: number,
  words: Int32Array,
  at: number,
): number {
  const last = 2 ** bits - 1;
  let [least, most] = [x[start] as number, x[start] as number];
  for (let i = 1; i < size; i++) {
    const value = x[start + i] as number;
    if (value < least) least = value;
    if (value > most) most = value;
  }
  // Low is rounded down and step up, so that the codes reach from the least to the most.
  const leastBits = bitsOf(least);
  const lowBits = ((leastBits + (leastBits >>> 31 ? 0xffff : 0)) & 0xffff0000) >>> 0;
  const low = floatOf(lowBits);
  const stepBits = ((bitsOf(fround(fround(most - low) / last)) + 0xffff) & 0xffff0000) >>> 0;
  const inverse = stepBits ? fround(1 / floatOf(stepBits)) : 0;
  words[at++] = lowBits | (stepBits >>> 16);
  const per = 32 / bits;
  for (let i = 0; i < size; i += per, at++) {
    for (let j = i; j < Math.min(size, i + per); j++) {
      const scaled = fround(fround((x[start + j] as number) - low) * inverse);
      const v = fround(scaled + (seed ? chance(start + j, seed) : 0.5));
      words[at]! |= (v > 0 ? Math.floor(Math.min(v, last)) : 0) << ((j - i) * bits);
    }
  }
  return at;
}

/** Fills `row` from the words at `at`. */
export function dequantize(words: ArrayLike<number>, at: number, bits: number, row: Float32Array): void {
  const header = (words[at] as number) >>> 0;
  const [low, step] = [floatOf((header & 0xffff0000) >>> 0), floatOf((header << 16) >>> 0)];
  const per = 32 / bits;
  for (let i = 0; i < row.length; i++) {
    const code = ((words[at + 1 + Math.floor(i / per)] as number) >>> ((i % per) * bits)) & (2 ** bits - 1);
    row[i] = low + fround(code * step);
  }
}
