/**
 * Rotary positions (Su et al. 2021, arXiv 2104.09864): the pair (x_i, x_{i + d/2}) of each head is turned by position · f_i, in the
 * half-split order of Hugging Face's checkpoints. The gradient turns back, and reads nothing.
 *
 *     y_1 = x_1 cos − x_2 sin     y_2 = x_2 cos + x_1 sin
 */
import * as tf from '@tensorflow/tfjs-core';
import { defineBlock } from './block.ts';

/** Options of {@link rope}. */
export interface RopeAttrs {
  readonly heads: number;
  /** f_i: radians per position, d/2 of them. */
  readonly frequencies: readonly number[];
  /** Factor of cos and sin: 1, except in YaRN. */
  readonly magnitude: number;
  /** Position of the first token. */
  readonly offset: number;
}

interface Table {
  readonly offset: number;
  readonly cos: Float32Array;
  readonly sin: Float32Array;
}
/** The last table made for some frequencies: every layer of a model asks for the same. */
const tables = new WeakMap<readonly number[], Table>();

function tableOf({ frequencies, magnitude, offset }: RopeAttrs, length: number): Table {
  const known = tables.get(frequencies);
  const size = length * frequencies.length;
  if (known?.offset === offset && known.cos.length === size) return known;
  const of = (f: (angle: number) => number) =>
    Float32Array.from({ length: size }, (_, i) => {
      const position = offset + Math.floor(i / frequencies.length);
      return magnitude * f(position * frequencies[i % frequencies.length]!);
    });
  const table = { offset, cos: of(Math.cos), sin: of(Math.sin) };
  tables.set(frequencies, table);
  return table;
}

function turn(x: tf.Tensor, attrs: RopeAttrs, direction: 1 | -1): tf.Tensor {
  const [n, length, width] = x.shape as [number, number, number];
  const half = attrs.frequencies.length;
  const { cos, sin } = tableOf(attrs, length);
  const c = tf.tensor(cos, [length, 1, half]);
  const s = tf.mul(tf.tensor(sin, [length, 1, half]), direction);
  const heads = tf.reshape(x, [n, length, attrs.heads, 2 * half]);
  const [a, b] = tf.split(heads, 2, -1) as [tf.Tensor, tf.Tensor]; // [n, length, heads, d/2] each
  const turned = tf.concat([tf.sub(tf.mul(a, c), tf.mul(b, s)), tf.add(tf.mul(b, c), tf.mul(a, s))], -1);
  return tf.reshape(turned, [n, length, width]);
}

const block = defineBlock<RopeAttrs>({
  kernel: 'Rope',
  forward: ({ x }, attrs) => [turn(x!, attrs, 1)],
  reads: { x: [] },
  backward: ({ dy }, attrs) => [turn(dy!, attrs, -1)],
});

/** x [n, length, heads · d] -> the same shape. */
export const rope = (x: tf.Tensor, attrs: RopeAttrs): tf.Tensor => block({ x }, attrs)[0]!;
