/**
 * Seeded numbers, equal on every backend and fast enough for 25 million weights (tfjs's own seeded initializers take seconds).
 * mulberry32: Tommy Ettinger 2017, public domain.
 */

/** A generator of numbers in [0, 1). */
export function generator(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** `size` numbers in [-bound, bound). */
export function uniform(size: number, bound: number, next: () => number): Float32Array {
  const values = new Float32Array(size);
  for (let i = 0; i < size; i++) values[i] = (2 * next() - 1) * bound;
  return values;
}

/** `size` whole numbers in [0, limit). */
export function integers(size: number, limit: number, next: () => number): Int32Array {
  const values = new Int32Array(size);
  for (let i = 0; i < size; i++) values[i] = Math.floor(next() * limit);
  return values;
}

/** `count` one-hot rows of `classes` numbers. */
export function oneHotRows(count: number, classes: number, next: () => number): Float32Array {
  const rows = new Float32Array(count * classes);
  for (const [row, label] of integers(count, classes, next).entries()) rows[row * classes + label] = 1;
  return rows;
}
