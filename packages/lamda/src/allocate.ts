/**
 * LaMDA++'s ranks: a budget goes where it captures most of the weights' normalised energy.
 *
 *   E(r) = Σᵢ≤r σᵢ² / ‖W‖²        gain per cost of a raise = (E(next) − E(now)) / (cost(next) − cost(now))
 *
 * All sites start at the smallest candidate; the raise with the largest gain is made, again and again, while one fits the budget. The
 * paper (arXiv 2406.12832) says "normalized spectrum analysis of the pre-trained weights" and leaves the rule open: this greedy one is ours.
 * It reads no data, and ties go to the site that comes first, so that it gives the same ranks every time.
 */

/** What is known of one site's kernel. */
export interface Spectrum {
  readonly site: string;
  readonly dIn: number;
  readonly dOut: number;
  /** The largest singular values, descending. */
  readonly sigma: ArrayLike<number>;
  /** ‖W‖². */
  readonly energy: number;
}

/** What the ranks of all layers may come to. */
export interface Budget {
  /** The mean of all ranks. @default 8 */
  readonly averageRank?: number;
  /** Numbers that train at the start, Σ r² + r·dOut, in place of `averageRank`. */
  readonly budget?: number;
}

/** Half, whole, one and a half, and twice the average. */
export const candidateRanks = (average: number): readonly number[] =>
  [...new Set([0.5, 1, 1.5, 2].map((factor) => Math.max(1, Math.round(factor * average))))].sort((a, b) => a - b);

/** E(r). */
export function capturedEnergy({ sigma, energy }: Spectrum, rank: number): number {
  let sum = 0;
  for (let i = 0; i < rank; i++) sum += sigma[i]! ** 2;
  return energy > 0 ? sum / energy : 0;
}

/** Ranks by site name. Where not even the smallest candidates fit the budget, all have those. */
export function allocateRanks(spectra: readonly Spectrum[], { averageRank = 8, budget }: Budget): { readonly [site: string]: number } {
  const cost = (rank: number, { dOut }: Spectrum) => (budget === undefined ? rank : rank * rank + rank * dOut);
  const total = budget ?? averageRank * spectra.length;
  const steps = spectra.map((spectrum) =>
    candidateRanks(averageRank).filter((rank) => rank <= Math.min(spectrum.dIn, spectrum.dOut, spectrum.sigma.length)),
  );
  const at = spectra.map(() => 0);
  let spent = spectra.reduce((sum, spectrum, i) => sum + cost(steps[i]![0]!, spectrum), 0);
  for (;;) {
    let best: { readonly i: number; readonly gain: number; readonly price: number } | undefined;
    for (const [i, spectrum] of spectra.entries()) {
      const [now, next] = [steps[i]![at[i]!]!, steps[i]![at[i]! + 1]];
      if (next === undefined) continue;
      const price = cost(next, spectrum) - cost(now, spectrum);
      const gain = (capturedEnergy(spectrum, next) - capturedEnergy(spectrum, now)) / price;
      if (spent + price <= total && (!best || gain > best.gain)) best = { i, gain, price };
    }
    if (!best) break;
    at[best.i]!++;
    spent += best.price;
  }
  return Object.fromEntries(spectra.map(({ site }, i) => [site, steps[i]![at[i]!]!]));
}
