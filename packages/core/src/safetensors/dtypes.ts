/** The element types of the format, and the two half precisions of model files in plain JavaScript. */

/** Bytes per element, as the format names its types. */
export const bytesPerElement: { readonly [dtype: string]: number } = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E4M3: 1,
  F8_E5M2: 1,
  U16: 2,
  I16: 2,
  F16: 2,
  BF16: 2,
  U32: 4,
  I32: 4,
  F32: 4,
  U64: 8,
  I64: 8,
  F64: 8,
};

/** The floating-point types of a safetensors file that are read. */
export type FloatDtype = 'F32' | 'F16' | 'BF16';

/** Values of `bytes` as float32, exactly; a view where they are float32 already and aligned. */
export function decodeFloats(bytes: Uint8Array, dtype: FloatDtype): Float32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  if (dtype === 'F32') return new Float32Array(aligned.buffer, aligned.byteOffset, bytes.length / 4);
  const halves = new Uint16Array(aligned.buffer, aligned.byteOffset, bytes.length / 2);
  const floats = new Float32Array(halves.length);
  if (dtype === 'F16') {
    table ??= Float32Array.from({ length: 1 << 16 }, (_, half) => floatOfHalf(half));
    for (let i = 0; i < halves.length; i++) floats[i] = table[halves[i]!]!;
  } else {
    // bfloat16 is the upper half of a float32
    const bits = new Uint32Array(floats.buffer);
    for (let i = 0; i < halves.length; i++) bits[i] = halves[i]! << 16;
  }
  return floats;
}

/** float32 to `dtype`, rounded to nearest, ties to even; beyond the range: infinity. */
export function encodeFloats(values: Float32Array, dtype: FloatDtype): Uint8Array {
  if (dtype === 'F32') return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const halves = Uint16Array.from(bits, dtype === 'F16' ? halfOf : brainOf);
  return new Uint8Array(halves.buffer);
}

let table: Float32Array | undefined;

/** IEEE 754 binary16: 1 sign bit, 5 exponent bits, 10 fraction bits. */
function floatOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = (half & 1023) / 1024;
  if (exponent === 0) return sign * fraction * 2 ** -14;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1 + fraction) * 2 ** (exponent - 15);
}

const isNaNBits = (bits: number): boolean => (bits & 0x7fffffff) >>> 0 > 0x7f800000;

function brainOf(bits: number): number {
  if (isNaNBits(bits)) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

function halfOf(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  if (isNaNBits(bits)) return sign | 0x7e00;
  const exponent = ((bits >>> 23) & 255) - 112; // bias 127 to bias 15
  if (exponent >= 31) return sign | 0x7c00;
  const fraction = exponent > 0 ? bits & 0x7fffff : (bits & 0x7fffff) | 0x800000;
  const drop = exponent > 0 ? 13 : 14 - exponent; // subnormal: shift further
  if (drop > 24) return sign;
  const kept = ((exponent > 0 ? exponent << 10 : 0) + (fraction >>> drop)) | 0;
  const rest = fraction & ((1 << drop) - 1);
  const half = 1 << (drop - 1);
  return sign | (kept + Number(rest > half || (rest === half && (kept & 1) === 1)));
}
