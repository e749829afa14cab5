/** Codes of values that wait for backward: the reference. What each kernel computes: `../codes.ts`. Float32 at every step, as wasm. */
import * as tf from '@tensorflow/tfjs-core';
import { type DecodeStepsAttrs, type EncodeStepsAttrs, rowWords, stepWords } from '../codes.ts';
import { kernelsOf, sizeOf, values } from './kernel.ts';
import { maxPoolIndex, maxPoolIndexGrad } from './pool-codes.ts';
import { dequantize, quantize } from './rows.ts';

/** Calls `each` with the values of every row, which it may change. */
function eachRow(
  words: ArrayLike<number>,
  n: number,
  group: number,
  bits: number,
  each: (row: Float32Array, start: number) => void,
): Float32Array {
  const out = new Float32Array(n);
  let at = 0;
  for (let start = 0; start < n; start += group) {
    const row = out.subarray(start, start + group);
    dequantize(words, at, bits, row);
    each(row, start);
    at += 1 + stepWords(row.length, bits);
  }
  return out;
}

export const codes: readonly tf.KernelConfig[] = kernelsOf({
  EncodeSteps: ({ x }, attrs, make) => {
    const { borders, codes, bits } = attrs as unknown as EncodeStepsAttrs;
    const from = values(x!);
    const thresholds = Float32Array.from(borders);
    const words = new Int32Array(stepWords(from.length, bits));
    const per = 32 / bits;
    for (let i = 0; i < from.length; i++) {
      let below = 0;
      while (below < thresholds.length && (from[i] as number) > (thresholds[below] as number)) below++;
      words[Math.floor(i / per)]! |= codes[below]! << ((i % per) * bits);
    }
    return make([words.length], 'int32', words);
  },

  DecodeSteps: ({ codes, dy }, attrs, make) => {
    const { levels, bits, shape } = attrs as unknown as DecodeStepsAttrs;
    const [words, by, table] = [values(codes!), dy && values(dy), Float32Array.from(levels)];
    const per = 32 / bits;
    const out = Float32Array.from({ length: tf.util.sizeFromShape([...shape]) }, (_, i) => {
      const level = table[((words[Math.floor(i / per)] as number) >>> ((i % per) * bits)) & (2 ** bits - 1)]!;
      return by ? (by[i] as number) * level : level;
    });
    return make([...shape], 'float32', out);
  },

  QuantizeRows: ({ x }, { bits, group, seed }, make) => {
    const from = values(x!);
    const words = new Int32Array(rowWords(from.length, group, bits));
    let at = 0;
    for (let start = 0; start < from.length; start += group)
      at = quantize(from, start, Math.min(group, from.length - start), bits, seed, words, at);
    return make([words.length], 'int32', words);
  },

  DequantizeRows: ({ codes }, { bits, group, shape }, make) =>
    make(
      shape,
      'float32',
      eachRow(values(codes!), tf.util.sizeFromShape(shape), group, bits, () => {}),
    ),

  SoftmaxGradRows: ({ codes, dy }, { bits, group }, make) => {
    const by = values(dy!);
    const dx = eachRow(values(codes!), sizeOf(dy!), group, bits, (y, start) => {
      const total = y.reduce((sum, value) => sum + value, 0) || 1;
      const mean = y.reduce((sum, value, i) => sum + value * (by[start + i] as number), 0) / total;
      y.forEach((value, i) => (y[i] = value * ((by[start + i] as number) - mean)));
    });
    return make(dy!.shape, 'float32', dx);
  },

  NormGradRows: ({ codes, dy, mean, rstd, scale }, { bits, group }, make) => {
    const [by, means, inverses, gains] = [values(dy!), mean && values(mean), values(rstd!), scale && values(scale)];
    const dx = eachRow(values(codes!), sizeOf(dy!), group, bits, (x, start) => {
      const row = start / group;
      const inverse = inverses[row] as number;
      const g = Array.from(x, (_, i) => (by[start + i] as number) * (gains ? (gains[i] as number) : 1));
      x.forEach((value, i) => (x[i] = (value - (means ? (means[row] as number) : 0)) * inverse));
      const center = means ? g.reduce((sum, value) => sum + value, 0) / group : 0;
      const product = g.reduce((sum, value, i) => sum + value * x[i]!, 0) / group;
      g.forEach((value, i) => (x[i] = inverse * (value - center - x[i]! * product)));
    });
    return make(dy!.shape, 'float32', dx);
  },
  MaxPoolIndex: maxPoolIndex,
  MaxPoolIndexGrad: maxPoolIndexGrad,
});
