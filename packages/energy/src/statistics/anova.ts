/**
 * One-way analysis of variance: do k groups share one mean? (Fisher 1925)
 *
 *   F = [ Σ nᵢ(mᵢ − m)² / (k−1) ] / [ Σᵢ Σ (x − mᵢ)² / (N−k) ]
 *
 * How much of the spread the groups explain: η² = SS_between / SS_total, which is too large for few runs, and ω², which is not.
 * The spread is taken to be the same in all groups; for two groups that differ in it there is {@link welchTest}.
 */

import { EnergyError } from '../errors.ts';
import { fTail } from './distributions.ts';
import { numbersOf } from './sample.ts';
import { moments, squares } from './summary.ts';

/** One line of a table of variance. */
export interface Effect {
  readonly squares: number;
  readonly df: number;
  readonly f: number;
  readonly p: number;
  /** Share of the whole sum of squares. */
  readonly etaSquared: number;
  /** The same as an estimate for the population; may fall below 0 where there is no effect. */
  readonly omegaSquared: number;
}

export interface Anova extends Effect {
  readonly error: { readonly squares: number; readonly df: number };
}

/**
 * @param groups the values of each group; groups may differ in size
 * @throws {EnergyError} fewer than two groups, an empty group, no group with two values, or a value that is not finite
 */
export function anova(groups: readonly (readonly number[])[]): Anova {
  if (groups.length < 2) throw new EnergyError('bad-sample', 'anova', `${groups.length} group(s), expected two or more to compare.`);
  const stats = groups.map((values, i) => moments(numbersOf('anova', `groups[${i}]`, values, 1)));
  const all = groups.flat();
  const errorDf = all.length - groups.length;
  if (errorDf === 0) throw new EnergyError('bad-sample', 'anova', 'every group has one value, expected repeated runs. Raise repeats.');
  const { mean } = moments(all);
  const between = stats.reduce((sum, { n, mean: own }) => sum + n * (own - mean) ** 2, 0);
  const within = groups.reduce((sum, values, i) => sum + squares(values, stats[i]!.mean), 0);
  const error = { squares: within, df: errorDf };
  return { ...effect(between, groups.length - 1, error, squares(all, mean)), error };
}

/** One line of a table: an effect against the error. */
export function effect(between: number, df: number, error: { readonly squares: number; readonly df: number }, total: number): Effect {
  const noise = error.squares / error.df;
  const f = between === 0 ? 0 : between / df / noise;
  return {
    squares: between,
    df,
    f,
    p: fTail(f, df, error.df),
    etaSquared: total === 0 ? 0 : between / total,
    omegaSquared: total === 0 ? 0 : (between - df * noise) / (total + noise),
  };
}
