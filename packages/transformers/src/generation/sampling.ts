/** Picks the next token from logits: the likeliest, or at random among those that `topK` and `topP` leave. */
export interface SamplingOptions {
  /** 0 takes the likeliest token; 1 draws from the model's own probabilities. @default 0 */
  readonly temperature?: number;
  /** Draws among the so many likeliest tokens. @default all */
  readonly topK?: number;
  /** Draws among the likeliest tokens that together have this probability (Holtzman et al. 2019, arXiv 1904.09751). @default 1 */
  readonly topP?: number;
}

/** @param random a number in [0, 1) */
export function sample(logits: ArrayLike<number>, { temperature = 0, topK, topP = 1 }: SamplingOptions, random: () => number): number {
  if (temperature === 0) return likeliest(logits);
  const order = Array.from({ length: logits.length }, (_, id) => id).sort((a, b) => logits[b]! - logits[a]! || a - b);
  const kept = topK === undefined ? order : order.slice(0, topK);
  const weights = kept.map((id) => Math.exp((logits[id]! - logits[kept[0]!]!) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let [mass, count] = [0, 0];
  while (count < kept.length && (count === 0 || mass < topP * total)) mass += weights[count++]!;
  let at = random() * mass;
  for (let i = 0; i < count; i++) {
    at -= weights[i]!;
    if (at < 0) return kept[i]!;
  }
  return kept[count - 1]!;
}

function likeliest(logits: ArrayLike<number>): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if (logits[id]! > logits[best]!) best = id;
  return best;
}

/** Numbers in [0, 1) that a seed fixes: Tommy Ettinger's mulberry32. */
export function seededRandom(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
