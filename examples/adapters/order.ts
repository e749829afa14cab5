/** The index of the n-th example of a run among `count`: every epoch in an order of its own, the same for the same seed. */
export function shuffled(n: number, count: number, seed: number): number {
  const key = `${count} ${Math.floor(n / count)} ${seed}`;
  if (!orders.has(key)) orders.set(key, order(count, hash(hash(seed + 1) + Math.floor(n / count))));
  return orders.get(key)![n % count]!;
}

const orders = new Map<string, readonly number[]>();

const order = (count: number, salt: number): number[] => {
  const keys = Array.from({ length: count }, (_, i) => hash(salt ^ hash(i + 1)));
  return [...keys.keys()].sort((a, b) => keys[a]! - keys[b]!);
};

/** A whole number that looks drawn (the last steps of MurmurHash3). */
function hash(x: number): number {
  const a = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  const b = Math.imul(a ^ (a >>> 13), 0xc2b2ae35);
  return (b ^ (b >>> 16)) >>> 0;
}
