/** A row of a packed table in half precision: two values in an int32 word, the first in its lower half, rounded as IEEE 754 rounds. */
import { decodeFloats, encodeFloats, type FloatDtype } from '@leantune/core/safetensors';

/** By their names in tfjs-like options: the names in files. */
export type HalfFormat = 'float16' | 'bfloat16';

/** Kernels are told of it as an attribute. */
export interface HalfLayout {
  readonly format: HalfFormat;
  readonly columns: number;
  readonly words: number;
}

const dtypes: { readonly [format in HalfFormat]: FloatDtype } = { float16: 'F16', bfloat16: 'BF16' };

export const halfLayout = (columns: number, format: HalfFormat): HalfLayout => ({ format, columns, words: columns / 2 });

/** An even number of values as words. */
export function encodeHalves(values: Float32Array, format: HalfFormat): Int32Array {
  const { buffer, byteOffset, byteLength } = encodeFloats(values, dtypes[format]);
  return new Int32Array(buffer, byteOffset, byteLength / 4);
}

/** And back, exactly. */
export function decodeHalves({ buffer, byteOffset, byteLength }: Int32Array, format: HalfFormat): Float32Array {
  return decodeFloats(new Uint8Array(buffer, byteOffset, byteLength), dtypes[format]);
}
