/**
 * Tails of Student's t and of Fisher's F, and quantiles of t.
 *
 *   P(|T| > t) = I_x(ν/2, ½),  x = ν / (ν + t²)          P(F > f) = I_x(d₂/2, d₁/2),  x = d₂ / (d₂ + d₁f)
 *
 * I is the regularized incomplete beta function of @stdlib, the library of standard functions: 12 digits and more, and in the tails too, where
 * 1 − cdf would have lost them all. Where x is near 1 the complement is taken from 1 − x, which is known to full precision.
 */
import incompleteBeta from '@stdlib/math-base-special-betainc';
import quantile from '@stdlib/stats-base-dists-t-quantile';

/** P(|T| > |t|) of Student's t with `df` > 0 degrees of freedom, which need not be whole. */
export function tTails(t: number, df: number): number {
  return tail(df, t * t, df / 2, 1 / 2);
}

/** P(F > f) of Fisher's F with `df1` and `df2` degrees of freedom. */
export function fTail(f: number, df1: number, df2: number): number {
  return tail(df2, df1 * f, df2 / 2, df1 / 2);
}

/** The t whose two tails hold 1 − `confidence`: an interval of that confidence reaches so many standard errors to each side. */
export function tCritical(confidence: number, df: number): number {
  return -quantile((1 - confidence) / 2, df);
}

/** I_x(a, b) with x = kept / (kept + rest). */
function tail(kept: number, rest: number, a: number, b: number): number {
  if (rest === Number.POSITIVE_INFINITY) return 0;
  const total = kept + rest;
  return kept < rest ? incompleteBeta(kept / total, a, b, true, false) : incompleteBeta(rest / total, b, a, true, true);
}
