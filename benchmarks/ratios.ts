/** Times of programs that took turns, as ratios to one of them. */

/** Per program the median over the rounds of its time to that of `base` in the same round. */
export function ratiosTo(base: string, milliseconds: { readonly [what: string]: readonly number[] }): { readonly [what: string]: number } {
  const ratio = (times: readonly number[]) => median(times.map((ms, round) => ms / milliseconds[base]![round]!));
  return Object.fromEntries(Object.entries(milliseconds).map(([what, times]) => [what, Number(ratio(times).toFixed(3))]));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}
