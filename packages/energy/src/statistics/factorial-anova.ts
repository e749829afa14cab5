/**
 * Analysis of variance of a balanced experiment with two or more factors, and their interactions.
 *
 * Let m(S) be the mean over all runs that agree in the factors S. The sum of squares of an effect is what its means explain beyond
 * those of every smaller effect:
 *
 *   SS(E) = Σ_runs ( Σ_{S ⊆ E} (−1)^{|E|−|S|} · m(S) )²          df(E) = Π_{factor ∈ E} (levels − 1)
 *
 * In a balanced experiment the effects are orthogonal, so that types I, II and III of other programs agree, and they and the error sum
 * to the total. Interactions of a higher order than asked for go into the error.
 */
import { EnergyError } from '../errors.ts';
import { type Effect, effect } from './anova.ts';
import { moments, squares } from './summary.ts';

/** The level of each factor, by its name. */
export type Levels = Readonly<Record<string, string | number>>;

/** One run: the levels of its factors, and its value. */
export interface Observation {
  /** The level of each factor: `{ precision: 'float32', batch: 64 }`. */
  readonly levels: Levels;
  readonly value: number;
}

/** Analysis of variance over several factors. */
export interface FactorialAnova {
  /** By the factors of the effect: `precision`, `batch`, `precision × batch`. */
  readonly effects: Readonly<Record<string, Effect>>;
  readonly error: { readonly squares: number; readonly df: number };
  readonly total: { readonly squares: number; readonly df: number };
}

/**
 * @param factors names of the factors, each with at least two levels
 * @param order the most factors of one interaction; 2 for pairs
 * @throws {EnergyError} an unbalanced experiment, a factor with one level, or nothing left to estimate the error from
 */
export function factorialAnova(
  observations: readonly Observation[],
  factors: readonly string[],
  order: number = factors.length,
): FactorialAnova {
  const sets = subsets(factors).filter((set) => set.length <= order);
  checkBalance(observations, factors);
  const values = observations.map(({ value }) => value);
  const means = new Map(sets.map((set) => [nameOf(set), meansOf(observations, set)]));
  const raw = sets
    .filter((set) => set.length > 0)
    .map((set) => {
      const parts = subsets(set).map((part) => ({ of: means.get(nameOf(part))!, sign: (-1) ** (set.length - part.length), part }));
      const own = observations.map(({ levels }) => parts.reduce((sum, { of, sign, part }) => sum + sign * of.get(keyOf(levels, part))!, 0));
      const df = set.reduce((product, factor) => product * (levelsOf(observations, factor).size - 1), 1);
      return { name: nameOf(set), squares: squares(own, 0), df };
    });
  const total = { squares: squares(values, moments(values).mean), df: values.length - 1 };
  const error = raw.reduce((rest, one) => ({ squares: rest.squares - one.squares, df: rest.df - one.df }), total);
  if (error.df <= 0)
    throw new EnergyError(
      'bad-sample',
      'factorialAnova',
      `one run a cell leaves no error for interactions of ${order}. Raise repeats, or lower order.`,
    );
  const noise = { ...error, squares: Math.max(0, error.squares) };
  return {
    effects: Object.fromEntries(raw.map(({ name, squares, df }) => [name, effect(squares, df, noise, total.squares)])),
    error: noise,
    total,
  };
}

/** All subsets of `of`, the empty one first, then by size. */
function subsets(of: readonly string[]): string[][] {
  const all: string[][] = [[]];
  for (const one of of) all.push(...all.map((set) => [...set, one]));
  return all.sort((a, b) => a.length - b.length);
}

const nameOf = (set: readonly string[]): string => set.join(' × ');
const keyOf = (levels: Levels, set: readonly string[]): string => JSON.stringify(set.map((factor) => levels[factor]));
const levelsOf = (observations: readonly Observation[], factor: string): Set<string | number> =>
  new Set(observations.map(({ levels }) => levels[factor]!));

/** The runs that agree in the factors `set`, by their levels. */
function groupsOf(observations: readonly Observation[], set: readonly string[]): ReadonlyMap<string, readonly Observation[]> {
  const groups = new Map<string, Observation[]>();
  for (const one of observations) {
    const key = keyOf(one.levels, set);
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  return groups;
}

/** Mean of the runs that agree in `set`, by their levels. */
function meansOf(observations: readonly Observation[], set: readonly string[]): ReadonlyMap<string, number> {
  const groups = groupsOf(observations, set);
  return new Map([...groups].map(([key, group]) => [key, moments(group.map(({ value }) => value)).mean]));
}

function checkBalance(observations: readonly Observation[], factors: readonly string[]): void {
  const faults: string[] = [];
  const bad = observations.filter(({ value }) => !Number.isFinite(value)).length;
  if (bad > 0) faults.push(`${bad} value(s) that are not finite`);
  for (const factor of factors) {
    const without = observations.filter(({ levels }) => levels[factor] === undefined).length;
    if (without > 0) faults.push(`${without} run(s) that do not say "${factor}"`);
    else if (levelsOf(observations, factor).size < 2) faults.push(`factor "${factor}" has one level; leave it out`);
  }
  const cells = factors.reduce((product, factor) => product * levelsOf(observations, factor).size, 1);
  const counts = [...groupsOf(observations, factors).values()].map((runs) => runs.length);
  if (counts.length < cells) faults.push(`${cells - counts.length} of ${cells} combinations without a run`);
  if (new Set(counts).size > 1)
    faults.push(`${Math.min(...counts)} to ${Math.max(...counts)} runs a combination, expected the same number of each`);
  if (faults.length > 0)
    throw new EnergyError('bad-sample', 'factorialAnova', `${faults.join('; ')}. Run what is missing: the experiment must be balanced.`);
}
