/**
 * The order of runs: blocks that hold every configuration once, each block shuffled by a seeded generator (Fisher and Yates).
 *
 * A machine grows warm and its load changes. A random order keeps that from favouring a configuration, and blocks spread each evenly
 * over the whole experiment, which a plain shuffle of few runs may not.
 */

/** `blocks` shuffled copies of 0 … `configurations` − 1; the same for the same seed. */
export function randomOrder(configurations: number, blocks: number, seed = 1): number[][] {
  const random = uniform(seed);
  return Array.from({ length: blocks }, () => {
    const block = Array.from({ length: configurations }, (_, i) => i);
    for (let last = configurations - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [block[last], block[other]] = [block[other]!, block[last]!];
    }
    return block;
  });
}

/** Numbers in [0, 1): mulberry32, by Tommy Ettinger. */
function uniform(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
