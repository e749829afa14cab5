import { EnergyError } from '../errors.ts';
import { type Anova, anova } from './anova.ts';
import { hedgesG } from './effect-size.ts';
import { holm } from './holm.ts';
import { type WelchTest, welchTest } from './welch.ts';

/** One configuration against another. */
export interface PairTest extends WelchTest {
  readonly first: string;
  readonly second: string;
  /** p corrected by Holm for the number of pairs. */
  readonly pHolm: number;
  readonly hedgesG: number;
}

/** Which configurations differ, as statistics say it. */
export interface GroupTests {
  /** Whether there is any difference between the groups. */
  readonly anova: Anova;
  /** Which, pair by pair, in the order of the groups. */
  readonly pairs: readonly PairTest[];
}

/**
 * One-way analysis of variance over all groups; Welch's t-test and Hedges' g of every pair, corrected by Holm.
 *
 * @param groups the values of each group by its name, two or more of each
 * @param against only pairs whose second is this group: against a baseline there are fewer tests, so each may be stricter
 * @throws {EnergyError} fewer than two groups or values, a value that is not finite, or no group of the name `against`
 */
export function compareGroups(groups: Readonly<Record<string, readonly number[]>>, against?: string): GroupTests {
  const names = Object.keys(groups);
  if (against !== undefined && !names.includes(against))
    throw new EnergyError('bad-option', 'compareGroups', `against "${against}" is no group, expected one of ${names.join(', ')}.`);
  const pairs =
    against === undefined
      ? names.flatMap((first, i) => names.slice(i + 1).map((second) => [first, second] as const))
      : names.filter((name) => name !== against).map((first) => [first, against] as const);
  const overall = anova(Object.values(groups));
  const tests = pairs.map(([first, second]) => ({
    first,
    second,
    ...welchTest(groups[first]!, groups[second]!),
    hedgesG: hedgesG(groups[first]!, groups[second]!),
  }));
  const corrected = holm(tests.map(({ p }) => p));
  return { anova: overall, pairs: tests.map((test, i) => ({ ...test, pHolm: corrected[i]! })) };
}
