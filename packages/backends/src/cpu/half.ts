/** Values rounded to half precision, and stored in it: the reference. What each kernel computes: `../half.ts`. */
import * as tf from '@tensorflow/tfjs-core';
import { type DecodeHalfAttrs, type HalfType, halfWords, narrow, type RoundHalfAttrs, widen } from '../half.ts';
import { type CpuKernel, kernelsOf, values } from './kernel.ts';

/** The bits of a tensor's values, which tfjs may hold as plain numbers. */
function bitsOf(from: ArrayLike<number>): Uint32Array {
  const floats = from instanceof Float32Array ? from : Float32Array.from(from);
  return new Uint32Array(floats.buffer, floats.byteOffset, floats.length);
}

const roundHalf: CpuKernel = ({ x }, attrs, make) => {
  const { half } = attrs as unknown as RoundHalfAttrs;
  const [down, up] = [narrow[half], widen[half]];
  const bits = Uint32Array.from(bitsOf(values(x!)), (value) => up(down(value)));
  return make(x!.shape, 'float32', new Float32Array(bits.buffer));
};

const encodeHalf: CpuKernel = ({ x }, { half }, make) => {
  const bits = bitsOf(values(x!));
  const words = new Int32Array(halfWords(bits.length));
  bits.forEach((value, i) => (words[i >>> 1]! |= narrow[half as HalfType](value) << (16 * (i % 2))));
  return make([words.length], 'int32', words);
};

const decodeHalf: CpuKernel = ({ codes }, attrs, make) => {
  const { half, shape } = attrs as unknown as DecodeHalfAttrs;
  const [words, up] = [values(codes!), widen[half]];
  const bits = Uint32Array.from({ length: tf.util.sizeFromShape([...shape]) }, (_, i) =>
    up(((words[i >>> 1] as number) >>> (16 * (i % 2))) & 0xffff),
  );
  return make([...shape], 'float32', new Float32Array(bits.buffer));
};

export const halves: readonly tf.KernelConfig[] = kernelsOf({ RoundHalf: roundHalf, EncodeHalf: encodeHalf, DecodeHalf: decodeHalf });
