/**
 * o = softmax(q kᵀ · scale) v per head, without the matrix of scores: queries go by blocks, and backward forms each block's scores
 * again from q, k and the log-sum-exp of its rows (Dao et al. 2022, arXiv 2205.14135). Memory is O(T) instead of O(T²); what waits
 * for backward is q, k, v, o and one number per row and head.
 *
 *     P = exp(q kᵀ scale − lse)     dv = Pᵀ do     dS = P · (do vᵀ − Σ do · o)     dq = dS k scale     dk = dSᵀ q scale
 *
 * What differs from the paper: blocks of queries meet all their keys at once, so softmax needs no running maximum. Several query
 * heads may share one head of keys (Ainslie et al. 2023, arXiv 2305.13245): their rows lie under each other, and keys are not repeated.
 */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type AttentionAttrs, type Part, parts, scoresOf } from './attention-scores.ts';
import { defineBlock } from './block.ts';
import { mergeHeads, ofGroups, splitHeads, toGroups } from './heads.ts';

function forward({ q, k, v, mask }: { readonly [name: string]: tf.Tensor }, attrs: AttentionAttrs): tf.Tensor[] {
  const [keys, values] = [splitHeads(k!, attrs.kvHeads), splitHeads(v!, attrs.kvHeads)]; // [n, kvHeads, S, d]
  const blocks = parts(q!, k!, attrs).map((part) =>
    tf.tidy(() => {
      const scores = scoresOf(queriesOf(q!, part, attrs), cut(keys, part), mask!, part, attrs); // [n, heads, rows, keys]
      const top = tf.max(scores, -1, true);
      const weights = tf.exp(tf.sub(scores, top));
      const sum = tf.sum(weights, -1, true);
      const mixed = ofGroups(tf.matMul(toGroups(weights, attrs), cut(values, part)), attrs); // [n, heads, rows, d]
      return [mergeHeads(tf.div(mixed, sum)), tf.squeeze(tf.add(top, tf.log(sum)), [3])] as [tf.Tensor, tf.Tensor];
    }),
  );
  return [
    joined(
      blocks.map(([o]) => o),
      1,
    ),
    joined(
      blocks.map(([, lse]) => lse),
      2,
    ),
  ];
}

function backward(
  { q, k, v, mask, y, y1, dy }: { readonly [name: string]: tf.Tensor },
  attrs: AttentionAttrs,
  wanted: readonly string[],
): tf.Tensor[] {
  const [keys, values] = [splitHeads(k!, attrs.kvHeads), splitHeads(v!, attrs.kvHeads)];
  const dqs: tf.Tensor[] = [];
  let [dk, dv] = [tf.zerosLike(keys), tf.zerosLike(values)];
  for (const part of parts(q!, k!, attrs)) {
    const next = tf.tidy(() => {
      const { start, rows } = part;
      const queries = queriesOf(q!, part, attrs);
      const [some, their] = [cut(keys, part), cut(values, part)];
      const lse = tf.expandDims(tf.slice(y1!, [0, 0, start], [-1, -1, rows]), 3);
      const weights = tf.tidy(() => tf.exp(tf.sub(scoresOf(queries, some, mask!, part, attrs), lse))); // P
      const dOut = queriesOf(dy!, part, attrs); // [n, kvHeads, group · rows, d]
      const out = queriesOf(y!, part, attrs);
      const along = ofGroups(tf.sum(tf.mul(dOut, out), -1, true), attrs); // Σ do · o
      const dScores = tf.tidy(() => {
        const dWeights = ofGroups(tf.matMul(dOut, their, false, true), attrs);
        return toGroups(tf.mul(tf.mul(weights, tf.sub(dWeights, along)), attrs.scale), attrs);
      });
      return {
        dq: mergeHeads(ofGroups(tf.matMul(dScores, some), attrs)),
        dk: added(dk, () => widen(tf.matMul(dScores, queries, true, false), part, dk)),
        dv: added(dv, () => widen(tf.matMul(toGroups(weights, attrs), dOut, true, false), part, dv)),
      };
    });
    ({ dk, dv } = next);
    dqs.push(next.dq);
  }
  const gradients: { [input: string]: () => tf.Tensor } = { q: () => joined(dqs, 1), k: () => mergeHeads(dk), v: () => mergeHeads(dv) };
  return wanted.map((input) => gradients[input]!());
}

/** A part's rows of [n, T, heads · d] -> [n, kvHeads, group · rows, d]. */
const queriesOf = (x: tf.Tensor, { start, rows }: Part, attrs: AttentionAttrs): tf.Tensor =>
  toGroups(splitHeads(tf.slice(x, [0, start, 0], [-1, rows, -1]), attrs.heads), attrs);

/** A part's keys or values of [n, kvHeads, S, d]. */
const cut = (x: tf.Tensor, { from, keys }: Part): tf.Tensor => (keys === x.shape[2] ? x : tf.slice(x, [0, 0, from, 0], [-1, -1, keys, -1]));

/** sum + x, in place of `sum`. */
function added(sum: tf.Tensor, x: () => tf.Tensor): tf.Tensor {
  const next = tf.tidy(() => tf.add(sum, x()));
  sum.dispose();
  return next;
}

/** Zeros around the gradient of a part's keys. */
const widen = (dx: tf.Tensor, { from, keys }: Part, { shape }: tf.Tensor): tf.Tensor =>
  keys === shape[2]
    ? dx
    : tf.pad(dx, [
        [0, 0],
        [0, 0],
        [from, shape[2]! - from - keys],
        [0, 0],
      ]);

const joined = (blocks: tf.Tensor[], axis: number): tf.Tensor => (blocks.length === 1 ? blocks[0]! : tf.concat(blocks, axis));

const all = ['q', 'k', 'v', 'mask', 'y', 'y1'];
const block = defineBlock<AttentionAttrs>({ kernel: 'Attention', forward, reads: { q: all, k: all, v: all }, backward });

/**
 * q [n, T, heads · d], k and v [n, S, kvHeads · d] -> [n, T, heads · d]. The last query is at the last key.
 *
 * @param mask [n, S] int32: 0 for padding, else the number of the document, within which tokens attend. @default one document
 * @throws FinetuneError `'bad-option'` for more queries than keys where that matters: causal, or with a mask
 */
export function attention(
  q: tf.Tensor,
  k: tf.Tensor,
  v: tf.Tensor,
  mask: tf.Tensor | undefined,
  attrs: Omit<AttentionAttrs, 'masked'>,
): tf.Tensor {
  const [queries, keys] = [q.shape[1]!, k.shape[1]!];
  if (queries > keys && (attrs.causal || mask))
    throw new FinetuneError(
      'bad-option',
      'attention',
      `got ${queries} queries and ${keys} keys; expected no more queries than keys, for the last query is at the last key. Without causal and mask any number will do`,
    );
  return tf.tidy(() => {
    const given = mask ?? tf.scalar(0, 'int32');
    return block({ q, k, v, mask: given }, { ...attrs, masked: mask !== undefined })[0]!;
  });
}
