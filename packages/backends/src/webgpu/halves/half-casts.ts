/**
 * Casts to half precision and back in WGSL, in whole numbers on the bits as they are: WGSL leaves the rounding of f16() and pack2x16float, and
 * what they do out of range, to the device.
 */
import type { HalfType } from '../../half.ts';

/** WGSL of the function `narrow`, from the bits of a float32 to those of a half. */
const narrowings: { readonly [half in HalfType]: string } = {
  float16: `
fn narrow(bits: u32) -> u32 {
  let sign = (bits >> 16) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return sign | 0x7e00u; } // NaN
  if (size >= 0x477ff000u) { return sign | 0x7c00u; } // from 65520
  if (size >= 0x38800000u) { return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13); }
  if (size <= 0x33000000u) { return sign; } // up to 2^-25
  let shift = 126u - (size >> 23); // subnormal
  let mantissa = (size & 0x7fffffu) | 0x800000u;
  let below = mantissa >> shift;
  let rest = mantissa - (below << shift);
  let middle = 1u << (shift - 1u);
  return sign | (below + u32(rest > middle || (rest == middle && (below & 1u) == 1u)));
}`,
  bfloat16: `
fn narrow(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return ((bits >> 16) & 0x8000u) | 0x7fc0u; }
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}`,
};

/** And of `widen`, back. */
export const widenings: { readonly [half in HalfType]: string } = {
  float16: `
fn widen(half: u32) -> u32 {
  let sign = (half & 0x8000u) << 16;
  let size = half & 0x7fffu;
  if (size >= 0x7c00u) { return sign | 0x7f800000u | ((size & 0x3ffu) << 13); }
  if (size >= 0x400u) { return sign | ((size << 13) + 0x38000000u); }
  if (size == 0u) { return sign; }
  let top = firstLeadingBit(size);
  return sign | ((top + 103u) << 23) | ((size << (23u - top)) & 0x7fffffu);
}`,
  bfloat16: `
fn widen(half: u32) -> u32 { return half << 16; }`,
};

/** Both. */
export const casts: { readonly [half in HalfType]: string } = {
  float16: narrowings.float16 + widenings.float16,
  bfloat16: narrowings.bfloat16 + widenings.bfloat16,
};

/** The same in one go, without branches, for one value or four: short code compiles soon. `size`: the bits without the sign. */
const nearest: { readonly [half in HalfType]: (T: string) => string } = {
  // Normal halves drop 13 bits; below 2^-14 one more for each power of two; up to 2^-25, halfway to the smallest, all.
  float16: (T) => `
  let drop = ${T}(126u) - clamp(size >> ${T}(23u), ${T}(103u), ${T}(113u));
  let one = ${T}(1u) << drop;
  let near = (size + (one >> ${T}(1u)) - 1u + ((size >> drop) & ${T}(1u))) & ~(one - 1u);
  let least = select(${T}(), ${T}(0x33800000u), size > ${T}(0x33000000u));
  let finite = select(near, least, size < ${T}(0x33800000u));
  let half = select(finite, ${T}(0x7f800000u), size >= ${T}(0x477ff000u)); // from 65520`,
  bfloat16: (T) => `
  let half = (size + 0x7fffu + ((size >> ${T}(16u)) & ${T}(1u))) & ${T}(0xffff0000u);`,
};

const rounded = (half: HalfType, width: 1 | 4): string => {
  const [T, F] = width === 4 ? ['vec4u', 'vec4f'] : ['u32', 'f32'];
  return `
fn rounded${width}(x: ${F}) -> ${F} {
  let bits = bitcast<${T}>(x);
  let size = bits & ${T}(0x7fffffffu);${nearest[half](T)}
  return bitcast<${F}>(select(half, ${T}(0x7fc00000u), size > ${T}(0x7f800000u)) | (bits & ${T}(0x80000000u)));
}`;
};

/** WGSL: `rounded1(f32)` and `rounded4(vec4f)`, the nearest values that the format has. */
export const roundings = (half: HalfType): string => rounded(half, 1) + rounded(half, 4);
