/**
 * Half precision of one value, in whole numbers: IEEE 754 binary16 and bfloat16, to nearest, ties to even, with subnormals, infinities
 * and NaN. The kernels that store values in it are the same on every backend:
 *
 *   RoundHalf    x → the nearest value that the format has, as float32; with `inPlace` in x's own buffer, where the backend can
 *   EncodeHalf   x → two bytes a value: an opaque tensor, which no op but DecodeHalf may read
 *   DecodeHalf   codes → float32 of `shape`, exactly
 *
 * Where a backend computes a kernel in half precision, it has it under that name after `Half`: `HalfConv2D`. Products round what they read
 * and what they make, sums of elements and the like what they make:
 *
 *   y = round(Σ round(a) · round(b)), summed in float32        y = round(f(x, …))
 *
 * RoundHalf and its siblings are casts, not arithmetic: a value beyond float16's 65504 becomes infinite, one below 2⁻²⁵ zero.
 */
import type * as tf from '@tensorflow/tfjs-core';

/** The two half precisions. */
export type HalfType = 'float16' | 'bfloat16';

/** Attributes of `EncodeHalf`. */
export interface HalfAttrs {
  readonly half: HalfType;
}

export interface RoundHalfAttrs extends HalfAttrs {
  /** The caller gives x up: nothing else may read its buffer. @default false */
  readonly inPlace?: boolean;
}

export interface DecodeHalfAttrs extends HalfAttrs {
  readonly shape: readonly number[];
}

/** Attributes of `Half…`, beside the kernel's own. */
export interface HalfKernelAttrs extends HalfAttrs {
  /** The inputs, by name, whose values a half holds already. */
  readonly halves: readonly string[];
}

/** Of the products that backends compute on halves. */
export interface MatMulHalfOptions {
  /** @default false */
  readonly transposeA?: boolean;
  /** @default false */
  readonly transposeB?: boolean;
  /** @default 'float16' */
  readonly half?: HalfType;
}

/** Of the convolutions that backends compute on halves. */
export interface ConvHalfOptions {
  /** @default 1 */
  readonly strides?: number | [number, number];
  /** 'same', 'valid', a number for all sides, or one pair for each axis of x. @default 'valid' */
  readonly pad?: 'same' | 'valid' | number | tf.backend_util.ExplicitPadding;
  /** @default 'float16' */
  readonly half?: HalfType;
}

/** int32 words of n values, two in each, the first in the lower half. */
export const halfWords = (n: number): number => Math.ceil(n / 2);

/** From the bits of a float32 to those of a half. */
export type Narrow = (bits: number) => number;

export const narrow: { readonly [half in HalfType]: Narrow } = {
  float16(bits) {
    const sign = (bits >>> 16) & 0x8000;
    const size = bits & 0x7fffffff;
    if (size > 0x7f800000) return sign | 0x7e00; // NaN
    if (size >= 0x477ff000) return sign | 0x7c00; // from 65520, halfway to the value that is missing
    if (size >= 0x38800000) return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
    if (size <= 0x33000000) return sign; // up to 2^-25, halfway to the smallest
    const shift = 126 - (size >>> 23); // subnormal: in units of 2^-24
    const mantissa = (size & 0x7fffff) | 0x800000;
    const below = mantissa >>> shift;
    const rest = mantissa - (below << shift);
    const middle = 1 << (shift - 1);
    return sign | (below + Number(rest > middle || (rest === middle && below % 2 === 1)));
  },
  bfloat16: (bits) => ((bits & 0x7fffffff) > 0x7f800000 ? ((bits >>> 16) & 0x8000) | 0x7fc0 : (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16),
};

/** From the bits of a half to those of the float32 of the same value. */
export const widen: { readonly [half in HalfType]: Narrow } = {
  float16(bits) {
    const sign = (bits & 0x8000) << 16;
    const size = bits & 0x7fff;
    if (size >= 0x7c00) return sign | 0x7f800000 | ((size & 0x3ff) << 13);
    if (size >= 0x400) return sign | ((size << 13) + 0x38000000);
    if (size === 0) return sign;
    const top = 31 - Math.clz32(size);
    return sign | ((top + 103) << 23) | ((size << (23 - top)) & 0x7fffff);
  },
  bfloat16: (bits) => bits << 16,
};
