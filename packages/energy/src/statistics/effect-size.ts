/**
 * How large a difference is, in standard deviations: what a p-value does not say.
 *
 *   d = (m₁ − m₂) / s,   s² = ((n₁−1)s₁² + (n₂−1)s₂²) / ν,   ν = n₁ + n₂ − 2          (Cohen 1988)
 *   g = J(ν) · d,        J(ν) = Γ(ν/2) / (√(ν/2) · Γ((ν−1)/2))                        (Hedges 1981: d is too large for few runs)
 *
 * J is exact here; most programs take 1 − 3/(4ν − 1). 0.2 is called small, 0.5 medium, 0.8 large.
 */
import { numbersOf } from './sample.ts';
import { moments } from './summary.ts';

/** @throws {EnergyError} fewer than two values in a group, or a value that is not finite */
export function cohensD(first: readonly number[], second: readonly number[]): number {
  const a = moments(numbersOf('cohensD', 'first', first, 2));
  const b = moments(numbersOf('cohensD', 'second', second, 2));
  const pooled = ((a.n - 1) * a.variance + (b.n - 1) * b.variance) / (a.n + b.n - 2);
  const difference = a.mean - b.mean;
  return difference === 0 ? 0 : difference / Math.sqrt(pooled);
}

/** Cohen's d without its bias. @throws {EnergyError} as {@link cohensD} */
export function hedgesG(first: readonly number[], second: readonly number[]): number {
  return cohensD(first, second) * correction(first.length + second.length - 2);
}

/** J(ν), by r(2) = 1/√π and r(ν) · r(ν+1) = (ν − 1)/2 for r(ν) = Γ(ν/2) / Γ((ν−1)/2). */
function correction(df: number): number {
  let ratio = 1 / Math.sqrt(Math.PI);
  for (let k = 2; k < df; k++) ratio = (k - 1) / 2 / ratio;
  return ratio / Math.sqrt(df / 2);
}
