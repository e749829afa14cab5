/** The blocks that attention goes by, and the scores of one: which keys a query may see. */
import * as tf from '@tensorflow/tfjs-core';
import { ofGroups } from './heads.ts';

/** Options of {@link attention}. */
export interface AttentionAttrs {
  readonly heads: number;
  /** Heads of keys and values, a divisor of `heads`. */
  readonly kvHeads: number;
  readonly scale: number;
  /** A query sees no later key. */
  readonly causal: boolean;
  /** A query sees the last `window` keys, itself included; 0 sees all. Only together with `causal`. */
  readonly window: number;
  /** Whether `mask` says anything. */
  readonly masked: boolean;
}

/** A block of queries and the keys that any of them sees. */
export interface Part {
  readonly start: number;
  readonly rows: number;
  /** The key at the first query. */
  readonly first: number;
  /** The first key that any of them sees. */
  readonly from: number;
  readonly keys: number;
}

/** Scores in memory at a time: 1 MiB, of which a block of backward has some eight copies. */
const FEW = 2 ** 18;
/** A block asks for some fifty ops, and each costs the host of a GPU more than the scores of a small block do the GPU: it takes twice the room of q. */
const scoresAtOnce = (q: tf.Tensor): number => (/^web/.test(tf.getBackend()) ? Math.max(FEW, 2 * q.size) : FEW);
/** What hides a key: e to this power is 0, and unlike infinity it leaves a number where all keys are hidden. */
const HIDDEN = -(2 ** 30);
/** What no mask can outdo: a query that sees none of the keys before it does not see later ones in their place. */
const NEVER = 2 * HIDDEN;

export function parts(q: tf.Tensor, k: tf.Tensor, { heads, causal, window }: AttentionAttrs): Part[] {
  const [n, length] = q.shape as [number, number];
  const total = k.shape[1]!;
  const most = Math.max(1, Math.min(length, Math.floor(scoresAtOnce(q) / (n * heads * total))));
  const found: Part[] = [];
  for (let start = 0; start < length; start += most) {
    const rows = Math.min(most, length - start);
    const first = total - length + start;
    const from = causal && window > 0 ? Math.max(0, first - window + 1) : 0;
    found.push({ start, rows, first, from, keys: (causal ? first + rows : total) - from });
  }
  return found;
}

/** queries [n, kvHeads, group · rows, d], keys [n, kvHeads, keys, d] -> [n, heads, rows, keys]. */
export function scoresOf(queries: tf.Tensor, keys: tf.Tensor, mask: tf.Tensor, part: Part, attrs: AttentionAttrs): tf.Tensor {
  let scores = ofGroups(tf.matMul(tf.mul(queries, attrs.scale), keys, false, true), attrs);
  if (attrs.causal && part.rows + attrs.window > 1) scores = tf.add(scores, futureOf(part, attrs));
  if (attrs.masked) scores = tf.sub(scores, otherDocuments(mask, part));
  return scores;
}

/** [rows, keys]: hides what is later, or longer ago than the window. */
function futureOf({ rows, keys, first, from }: Part, { window }: AttentionAttrs): tf.Tensor {
  const hidden = new Float32Array(rows * keys);
  for (let row = 0; row < rows; row++) {
    const at = first - from + row;
    hidden.fill(NEVER, row * keys + at + 1, (row + 1) * keys);
    if (window > 0) hidden.fill(NEVER, row * keys, row * keys + Math.max(0, at - window + 1));
  }
  return tf.tensor2d(hidden, [rows, keys]);
}

/**
 * [n, 1, rows, keys]: hides padding and keys of other documents, by the squared distance of their numbers: one op as large as the result.
 * A query that is padding sees what the first document does, as nobody reads it.
 */
function otherDocuments(mask: tf.Tensor, { first, from, keys, rows }: Part): tf.Tensor {
  const far = tf.mul(tf.cast(mask, 'float32'), Math.sqrt(-HIDDEN)); // a whole number: nothing is rounded
  const key = tf.reshape(tf.slice(far, [0, from], [-1, keys]), [-1, 1, 1, keys]);
  const query = tf.reshape(tf.maximum(tf.slice(far, [0, first], [-1, rows]), Math.sqrt(-HIDDEN)), [-1, 1, rows, 1]);
  return tf.squaredDifference(query, key);
}
