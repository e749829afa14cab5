/**
 * Seeded −1 and +1, the same on every machine: integer arithmetic alone (mulberry32). A sketch of signs is as good as a Gaussian one
 * (Halko, Martinsson & Tropp 2011, arXiv 0909.4061), and needs no log or cos, whose last bits differ between engines.
 */
export function randomSigns(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) & 0x8000 ? 1 : -1;
  };
}
