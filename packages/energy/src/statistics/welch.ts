/**
 * Welch's t-test: do two groups have the same mean, when their spreads may differ? (Welch 1947, Biometrika 34)
 *
 *   t = (m₁ − m₂) / √(s₁²/n₁ + s₂²/n₂),     ν = (s₁²/n₁ + s₂²/n₂)² / ( (s₁²/n₁)²/(n₁−1) + (s₂²/n₂)²/(n₂−1) )
 */
import { tCritical, tTails } from './distributions.ts';
import { numbersOf } from './sample.ts';
import { moments } from './summary.ts';

/** Welch's t-test of two groups. */
export interface WelchTest {
  readonly t: number;
  /** Degrees of freedom by Welch and Satterthwaite. */
  readonly df: number;
  /** Two-sided. */
  readonly p: number;
  /** Mean of the first less mean of the second. */
  readonly difference: number;
  /** Confidence interval of the difference. */
  readonly interval: readonly [low: number, high: number];
  readonly confidence: number;
}

/**
 * @param confidence of the interval
 * @throws {EnergyError} fewer than two values in a group, or a value that is not finite
 */
export function welchTest(first: readonly number[], second: readonly number[], confidence = 0.95): WelchTest {
  const a = moments(numbersOf('welchTest', 'first', first, 2));
  const b = moments(numbersOf('welchTest', 'second', second, 2));
  const [va, vb] = [a.variance / a.n, b.variance / b.n];
  const error = Math.sqrt(va + vb);
  const difference = a.mean - b.mean;
  // Two constant groups: what differs at all differs for certain, and what does not, does not.
  if (error === 0)
    return {
      t: difference === 0 ? 0 : Math.sign(difference) * Number.POSITIVE_INFINITY,
      df: a.n + b.n - 2,
      p: difference === 0 ? 1 : 0,
      difference,
      interval: [difference, difference],
      confidence,
    };
  const df = (va + vb) ** 2 / (va ** 2 / (a.n - 1) + vb ** 2 / (b.n - 1));
  const t = difference / error;
  const reach = tCritical(confidence, df) * error;
  return { t, df, p: tTails(t, df), difference, interval: [difference - reach, difference + reach], confidence };
}
