/**
 * Values rounded to half precision, and stored in it, two in the 32 bits of a texel. What each kernel computes: `../half.ts`.
 *
 * A texture holds floats, and GPUs change those that are subnormal or NaN. Of 65,536 halves 63,491 differ in float16, where NaN is one, and
 * 65,029 in bfloat16 without its subnormals, which as floats would be lost all the same. Their pairs are fewer than the normal floats, so
 * pair number `a · kinds + b` is written as the normal float of that rank.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type HalfType, halfWords } from '../half.ts';
import { input, type KernelMap } from '../kernels.ts';
import type { WebglBackend } from './program.ts';

const casts: { readonly [half in HalfType]: string } = {
  float16: `
uint narrow(uint bits) {
  uint sign = (bits >> 16) & 0x8000u;
  uint size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return 0x7e00u;
  if (size >= 0x477ff000u) return sign | 0x7c00u;
  if (size >= 0x38800000u) return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13);
  if (size <= 0x33000000u) return sign;
  uint shift = 126u - (size >> 23);
  uint mantissa = (size & 0x7fffffu) | 0x800000u;
  uint below = mantissa >> shift;
  uint rest = mantissa - (below << shift);
  uint middle = 1u << (shift - 1u);
  return sign | (below + uint(rest > middle || (rest == middle && (below & 1u) == 1u)));
}
uint widen(uint half_) {
  uint sign = (half_ & 0x8000u) << 16;
  uint size = half_ & 0x7fffu;
  if (size >= 0x7c00u) return sign | 0x7f800000u | ((size & 0x3ffu) << 13);
  if (size >= 0x400u) return sign | ((size << 13) + 0x38000000u);
  return sign | floatBitsToUint(float(size) * 5.9604644775390625e-8); // of 2^-24: a normal float
}
const uint INFINITE = 0x7c00u;
const uint LOST = 0u;`,
  bfloat16: `
uint narrow(uint bits) {
  if ((bits & 0x7fffffffu) > 0x7f800000u) return 0x7fc0u;
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}
uint widen(uint half_) { return half_ << 16; }
const uint INFINITE = 0x7f80u;
// subnormals
const uint LOST = 0x7fu;`,
};

/** A half and its number among those that differ, NaN last. */
const ranks = `
uint rankOf(uint half_) {
  uint size = half_ & 0x7fffu;
  if (size > INFINITE) return 2u * (INFINITE - LOST + 1u);
  return (size > LOST ? size - LOST : 0u) * 2u + (half_ >> 15);
}
uint halfOf(uint rank) {
  if (rank == 2u * (INFINITE - LOST + 1u)) return INFINITE + 0x40u;
  uint size = rank >> 1;
  return (size > 0u ? size + LOST : 0u) | ((rank & 1u) << 15);
}
const uint KINDS = 2u * (INFINITE - LOST + 1u) + 1u;
const uint NORMALS = 0x7f000000u; // of one sign
float written(uint pair) {
  uint rest = pair < NORMALS ? pair : pair - NORMALS;
  return uintBitsToFloat((rest + 0x800000u) | (pair < NORMALS ? 0u : 0x80000000u));
}
uint read(float texel) {
  uint bits = floatBitsToUint(texel);
  return (bits & 0x7fffffffu) - 0x800000u + (bits >> 31) * NORMALS;
}`;

const size = (shape: number[]): number => tf.util.sizeFromShape(shape);
const flat = (x: tf.TensorInfo): tf.TensorInfo => ({ dataId: x.dataId, dtype: x.dtype, shape: [size(x.shape)] });

function run(backend: WebglBackend, x: tf.TensorInfo, n: number, half: HalfType, main: string): tf.TensorInfo {
  const program = { variableNames: ['X'], outputShape: [n], userCode: `${casts[half]}${ranks}\nvoid main() { ${main} }` };
  return backend.runWebGLProgram(program, [flat(x)], 'float32');
}

export const halfStorage: KernelMap<WebglBackend, tf.TensorInfo> = {
  RoundHalf(inputs, { half }, backend) {
    const x = input(inputs, 'x');
    const main = 'setOutput(uintBitsToFloat(widen(narrow(floatBitsToUint(getX(getOutputCoords()))))));';
    return { ...run(backend, x, size(x.shape), half, main), shape: x.shape };
  },
  EncodeHalf(inputs, { half }, backend) {
    const x = input(inputs, 'x');
    const n = size(x.shape);
    const main = `
  int i = 2 * getOutputCoords();
  uint low = rankOf(narrow(floatBitsToUint(getX(i))));
  uint high = i + 1 < ${n} ? rankOf(narrow(floatBitsToUint(getX(i + 1)))) : 0u;
  setOutput(written(low * KINDS + high));`;
    return run(backend, x, halfWords(n), half, main);
  },
  DecodeHalf(inputs, { half, shape }, backend) {
    const main = `
  int i = getOutputCoords();
  uint pair = read(getX(i / 2));
  setOutput(uintBitsToFloat(widen(halfOf(i % 2 == 0 ? pair / KINDS : pair % KINDS))));`;
    return { ...run(backend, input(inputs, 'codes'), size(shape), half, main), shape };
  },
};
