/** Times of modes that took turns, as ratios to Eval mode. */

/** Per mode the median over the rounds of its time to that of `evalMode` in the same round. */
export function ratiosToEval(milliseconds: { readonly [mode: string]: readonly number[] }): { readonly [mode: string]: number } {
  const base = milliseconds['evalMode']!;
  const ratio = (times: readonly number[]) => median(times.map((ms, round) => ms / base[round]!));
  return Object.fromEntries(Object.entries(milliseconds).map(([mode, times]) => [mode, Number(ratio(times).toFixed(3))]));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  return (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
}
