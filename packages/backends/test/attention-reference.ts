/** Attention by its formula in float64, and the cases that kernels of it are held to. */
import type { AttentionSizes } from '../src/attention-sizes.ts';
import { random, type Values } from './compare.ts';

export interface Case extends AttentionSizes {
  readonly causal: boolean;
  readonly window: number;
  readonly mask?: readonly number[];
}
export const caseOf = (queries: number, keys: number, size: number, more: Partial<Case> = {}): Case => ({
  ...{ n: 1, queries, keys, heads: 2, kvHeads: 2, size, causal: false, window: 0 },
  ...more,
});
export type Results = { readonly [name in 'o' | 'lse' | 'dq' | 'dk' | 'dv']: number[] };

export function valuesOf({ n, queries, keys, heads, kvHeads, size }: Case): { readonly [name in 'q' | 'k' | 'v' | 'dy']: Values } {
  const of = (length: number, width: number, seed: number) => random([n, length, width * size], seed);
  return { q: of(queries, heads, 1), k: of(keys, kvHeads, 2), v: of(keys, kvHeads, 3), dy: of(queries, heads, 4) };
}

/** What hides a key from a query, if anything does. */
const HIDDEN = 2 ** 30;
function hides({ queries, keys, causal, window, mask }: Case, sequence: number, query: number, key: number): number {
  const at = keys - queries + query;
  if (causal && (key > at || (window > 0 && key <= at - window))) return Number.POSITIVE_INFINITY;
  if (!mask) return 0;
  return HIDDEN * (Math.max(1, mask[sequence * keys + at]!) - mask[sequence * keys + key]!) ** 2;
}

export function expected(of: Case): Results {
  const { n, queries, keys, heads, kvHeads, size } = of;
  const { q, k, v, dy } = valuesOf(of);
  const scale = 1 / Math.sqrt(size);
  const zeros = (length: number) => Array<number>(length).fill(0);
  const results = {
    o: zeros(q.data.length),
    lse: zeros(n * heads * queries),
    dq: zeros(q.data.length),
    dk: zeros(k.data.length),
    dv: zeros(k.data.length),
  };
  const dot = (a: number[], at: number, b: number[], from: number) => {
    let sum = 0;
    for (let c = 0; c < size; c++) sum += a[at + c]! * b[from + c]!;
    return sum;
  };
  const add = (to: number[], at: number, x: number[], from: number, by: number) => {
    for (let c = 0; c < size; c++) to[at + c]! += x[from + c]! * by;
  };
  for (let sequence = 0; sequence < n; sequence++)
    for (let head = 0; head < heads; head++)
      for (let query = 0; query < queries; query++) {
        const row = ((sequence * queries + query) * heads + head) * size;
        const keyAt = (key: number) => ((sequence * keys + key) * kvHeads + Math.floor((head * kvHeads) / heads)) * size;
        const scores = Array.from({ length: keys }, (_, key) => {
          const penalty = hides(of, sequence, query, key);
          const score = dot(q.data, row, k.data, keyAt(key)) * scale;
          return penalty === 0 ? score : Math.fround(score - penalty); // beside 2^30 nothing is left of it, and it is no matter
        });
        const top = Math.max(...scores);
        const lse = top + Math.log(scores.reduce((sum, score) => sum + Math.exp(score - top), 0));
        results.lse[(sequence * heads + head) * queries + query] = lse;
        for (let key = 0; key < keys; key++) add(results.o, row, v.data, keyAt(key), Math.exp(scores[key]! - lse));
        const along = dot(dy.data, row, results.o, row);
        for (let key = 0; key < keys; key++) {
          const weight = Math.exp(scores[key]! - (top < -HIDDEN / 2 ? Math.fround(lse) : lse));
          const slope = weight * (dot(dy.data, row, v.data, keyAt(key)) - along) * scale;
          add(results.dv, keyAt(key), dy.data, row, weight);
          add(results.dq, row, k.data, keyAt(key), slope);
          add(results.dk, keyAt(key), q.data, row, slope);
        }
      }
  return results;
}

export const cases: readonly (readonly [string, Case])[] = [
  ['one query of one key', caseOf(1, 1, 8)],
  ['one query of many keys, as in generation', caseOf(1, 130, 64, { causal: true, kvHeads: 1 })],
  ['less than a tile', caseOf(5, 5, 8, { n: 2 })],
  ['a tile', caseOf(64, 64, 32)],
  ['more than a tile', caseOf(130, 130, 64, { causal: true })],
  ['heads of 80 values, fewer queries than keys', caseOf(33, 64, 80, { causal: true })],
  ['heads of 128 values, more queries than keys', caseOf(64, 33, 128)],
  ['groups of heads that share keys', caseOf(33, 33, 8, { n: 2, heads: 6, kvHeads: 2, causal: true })],
  ['a window', caseOf(130, 130, 8, { causal: true, window: 20 })],
  ['a window of one key', caseOf(33, 64, 8, { causal: true, window: 1 })],
  [
    'padding and documents',
    caseOf(12, 12, 8, { n: 2, mask: [...[1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 0, 0], ...[1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0]] }),
  ],
  ['packed documents, causal', caseOf(64, 64, 8, { causal: true, mask: Array.from({ length: 64 }, (_, i) => [1, 2, 3, 0][i >> 4]!) })],
  ['queries that see no key', caseOf(6, 6, 8, { n: 2, mask: [...[0, 0, 0, 0, 0, 0], ...[1, 1, 1, 0, 0, 0]] })],
  ['padding before what it pads, causal', caseOf(6, 6, 8, { causal: true, mask: [0, 0, 1, 1, 1, 1] })],
];
