/** Which pictures the batches hold: every epoch in another order, the same one in every run. */

/** Indices of the batch of a step. Batches are of one size: where an epoch runs out of pictures it takes up its first again. */
export function batchOf(step: number, batch: number, count: number): number[] {
  const perEpoch = Math.ceil(count / batch);
  const order = shuffled(count, Math.floor(step / perEpoch));
  const from = (step % perEpoch) * batch;
  return Array.from({ length: batch }, (_, i) => order[(from + i) % count]!);
}

/** Fisher-Yates, with the numbers of a linear congruential generator (Numerical Recipes). */
function shuffled(count: number, seed: number): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  let state = seed + 1;
  for (let i = count - 1; i > 0; i--) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = Math.floor((state / 2 ** 32) * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}
