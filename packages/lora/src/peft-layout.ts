/**
 * How peft names and lays out what a module holds. Ours is [..., dIn, r] and [r, dOut]; torch has outputs first:
 *
 *   Linear      lora_A.weight [r, dIn]            lora_B.weight [dOut, r]             lora_magnitude_vector [dOut]
 *   Conv2d      lora_A.weight [r, cIn, h, w]      lora_B.weight [cOut, r, 1, 1]       lora_magnitude_vector [1, cOut, 1, 1]
 *   Embedding   lora_embedding_A [r, words]       lora_embedding_B [d, r]             lora_magnitude_vector [d]
 *   whole       weight, bias, as torch has them
 */
import type { LowRankSite } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';
import { isEmbedding } from './target-modules.ts';

export type Part = 'A' | 'B' | 'magnitude';

/** The key behind the module's name. */
export function keyOf(site: LowRankSite, part: Part): string {
  if (part === 'magnitude') return 'lora_magnitude_vector';
  return isEmbedding(site) ? `lora_embedding_${part}` : `lora_${part}.weight`;
}

/** A kernel of ours as torch has it: the last axis first, the one before it second. */
const outputsFirst = (rank: number): number[] => [rank - 1, rank - 2, ...Array.from({ length: rank - 2 }, (_, i) => i)];
/** And back. */
const outputsLast = (rank: number): number[] => [...Array.from({ length: rank - 2 }, (_, i) => i + 2), 1, 0];

/** The shape a part has in peft's file. */
export function peftShape(site: LowRankSite, part: Part, rank: number): number[] {
  const { kernelShape: shape } = site;
  const dOut = shape.at(-1)!;
  const spatial = shape.slice(0, -2);
  const ones = spatial.map(() => 1);
  if (part === 'A') return [rank, shape.at(-2)!, ...spatial];
  return part === 'B' ? [dOut, rank, ...ones] : spatial.length > 0 ? [1, dOut, ...ones] : [dOut];
}

/** A new tensor in peft's shape. */
export function toPeft(site: LowRankSite, part: Part, value: tf.Tensor, rank: number): tf.Tensor {
  const laid = part === 'A' ? tf.transpose(value, outputsFirst(value.rank)) : part === 'B' ? tf.transpose(value) : value;
  return tf.reshape(laid, peftShape(site, part, rank));
}

/** A new tensor in our shape. */
export function fromPeft(site: LowRankSite, part: Part, value: tf.Tensor): tf.Tensor {
  const dOut = site.kernelShape.at(-1)!;
  if (part === 'A') return tf.transpose(value, outputsLast(value.rank));
  return part === 'B' ? tf.transpose(tf.reshape(value, [dOut, -1])) : tf.reshape(value, [dOut]);
}

/** A weight that trains whole: its own last segment, as torch calls it, and its axes as torch has them. */
export function wholeKey(name: string): string {
  const last = name.replaceAll('/', '.').split('.').at(-1)!;
  return (
    { kernel: 'weight', embeddings: 'weight', gamma: 'weight', beta: 'bias', moving_mean: 'running_mean', moving_variance: 'running_var' }[
      last
    ] ?? last
  );
}

const laidOut = (name: string, rank: number): boolean => rank > 1 && !/embed/i.test(name);

export const wholeToPeft = (name: string, value: tf.Tensor): tf.Tensor =>
  laidOut(name, value.rank) ? tf.transpose(value, outputsFirst(value.rank)) : tf.clone(value);
export const wholeFromPeft = (name: string, value: tf.Tensor): tf.Tensor =>
  laidOut(name, value.rank) ? tf.transpose(value, outputsLast(value.rank)) : tf.clone(value);
