/** Held against scipy, statsmodels and mpmath (scripts/statistics_fixtures.py), published tables, and data whose answer is known. */
import { readFileSync } from 'node:fs';
import {
  anova,
  cohensD,
  compareGroups,
  type Effect,
  EnergyError,
  factorialAnova,
  fTail,
  hedgesG,
  holm,
  type Observation,
  randomOrder,
  summarize,
  tCritical,
  tTails,
  welchTest,
} from '@leantune/energy/statistics';
import { describe, expect, test } from 'vitest';

type Pair = [number, number];
interface Fixtures {
  readonly tTails: [number, number, number][];
  readonly fTail: [number, number, number, number][];
  readonly tCritical: [number, number, number][];
  readonly summaries: { values: number[]; confidence: number; mean: number; sd: number; interval: Pair }[];
  readonly welch: { first: number[]; second: number[]; t: number; df: number; p: number; interval: Pair; d: number; g: number }[];
  readonly oneWay: (Effect & { groups: number[][]; error: { squares: number; df: number } })[];
  readonly factorial: {
    factors: string[];
    order: number;
    observations: Observation[];
    effects: Record<string, Pick<Effect, 'squares' | 'df' | 'f' | 'p'>>;
    error: { squares: number; df: number };
  }[];
  readonly holm: { p: number[]; corrected: number[] }[];
}
const fixtures: Fixtures = JSON.parse(readFileSync(new URL('fixtures/statistics.json', import.meta.url), 'utf8'));

/** Equal to so many digits of the larger, or both below `floor`. */
function expectClose(got: number, want: number, digits = 10, floor = 1e-290): void {
  if (Math.abs(want) < floor) expect(Math.abs(got)).toBeLessThan(floor);
  else expect(Math.abs(got - want) / Math.abs(want), `${got} against ${want}`).toBeLessThan(10 ** -digits);
}

describe('distributions', () => {
  test.each(fixtures.tTails)("both tails of Student's t beyond %d with %d degrees of freedom have 12 right digits", (t, df, p) => {
    expectClose(tTails(t, df), p, 12);
    expect(tTails(-t, df)).toBe(tTails(t, df));
  });
  test.each(fixtures.fTail)('the tail of F beyond %d with %d and %d degrees of freedom has 12 right digits', (f, df1, df2, p) => {
    expectClose(fTail(f, df1, df2), p, 12);
  });
  test.each(fixtures.tCritical)(
    'an interval of confidence %d with %d degrees of freedom reaches as far as scipy says',
    (confidence, df, t) => {
      expectClose(tCritical(confidence, df), t, 10);
    },
  );
  test('the printed table of t says the same: 12.706, 2.776, 2.262, 2.042', () => {
    expect([1, 4, 9, 30].map((df) => tCritical(0.95, df).toFixed(3))).toEqual(['12.706', '2.776', '2.262', '2.042']);
  });
  test('with one degree of freedom t is Cauchy, and t² with ν is F with 1 and ν', () => {
    for (const t of [0.1, 1, 7, 1e8]) expectClose(tTails(t, 1), (2 / Math.PI) * Math.atan(1 / t), 12);
    for (const t of [0.1, 1, 7]) expectClose(fTail(t * t, 1, 5.5), tTails(t, 5.5), 14);
  });
});

describe('groups', () => {
  test.each(fixtures.summaries)('mean, sd and interval are those of scipy: $values', ({ values, confidence, mean, sd, interval }) => {
    const got = summarize(values, confidence);
    expectClose(got.mean, mean);
    expectClose(got.sd, sd, 8);
    got.interval.forEach((end, i) => void expectClose(end, interval[i]!));
  });
  test.each(fixtures.welch)(
    "Welch's test and the effect sizes are those of scipy: p = $p",
    ({ first, second, d, g, interval, ...want }) => {
      const got = welchTest(first, second);
      for (const name of ['t', 'df', 'p'] as const) expectClose(got[name], want[name]);
      got.interval.forEach((end, i) => void expectClose(end, interval[i]!, 9));
      expectClose(cohensD(first, second), d);
      expectClose(hedgesG(first, second), g);
      expect(welchTest(second, first).t).toBe(-got.t);
    },
  );
  test.each(fixtures.oneWay)('one-way analysis of variance is that of statsmodels: F = $f', ({ groups, error, ...want }) => {
    const got = anova(groups);
    for (const name of ['squares', 'df', 'f', 'p', 'etaSquared', 'omegaSquared'] as const) expectClose(got[name], want[name]);
    expectClose(got.error.squares, error.squares);
    expect(got.error.df).toBe(error.df);
  });
  test.each(fixtures.factorial)('analysis of variance by $factors, order $order, is that of statsmodels', (want) => {
    const { effects, error, total } = factorialAnova(want.observations, want.factors, want.order);
    expect(Object.keys(effects)).toEqual(Object.keys(want.effects));
    for (const [name, row] of Object.entries(want.effects))
      for (const field of ['squares', 'df', 'f', 'p'] as const) expectClose(effects[name]![field], row[field], 8);
    expectClose(error.squares, want.error.squares, 9);
    expect(error.df).toBe(want.error.df);
    const parts = Object.values(effects).reduce((sum, { squares }) => sum + squares, error.squares);
    expectClose(parts, total.squares, 12);
  });
  test('an analysis by one factor is the one-way analysis', () => {
    const groups = fixtures.oneWay[0]!.groups;
    const observations = groups.flatMap((values, level) => values.map((value) => ({ levels: { level }, value })));
    const got = factorialAnova(observations, ['level']).effects['level']!;
    const want = anova(groups);
    for (const name of ['squares', 'df', 'f', 'p', 'etaSquared', 'omegaSquared'] as const) expectClose(got[name], want[name]);
  });
  test.each(fixtures.holm)('Holm corrects $p as statsmodels does', ({ p, corrected }) => {
    holm(p).forEach((value, i) => void expectClose(value, corrected[i]!, 12));
  });
  test('groups are compared pair by pair, or against a baseline, with as many tests to correct for', () => {
    const [a, b, c] = fixtures.oneWay[0]!.groups as [number[], number[], number[]];
    const all = compareGroups({ a, b, c });
    expect(all.pairs.map(({ first, second }) => first + second)).toEqual(['ab', 'ac', 'bc']);
    expect(all.anova).toEqual(anova([a, b, c]));
    expect(all.pairs.map(({ pHolm }) => pHolm)).toEqual(holm(all.pairs.map(({ p }) => p)));
    const some = compareGroups({ a, b, c }, 'c');
    expect(some.pairs.map(({ first, second }) => first + second)).toEqual(['ac', 'bc']);
    expect(some.pairs[1]).toMatchObject(welchTest(b, c));
  });
});

describe('extremes', () => {
  test('groups without spread differ for certain or not at all', () => {
    expect(welchTest([2, 2], [1, 1])).toMatchObject({ t: Number.POSITIVE_INFINITY, p: 0, interval: [1, 1] });
    expect(welchTest([2, 2], [2, 2])).toMatchObject({ t: 0, p: 1 });
    expect(
      anova([
        [1, 1],
        [2, 2],
      ]),
    ).toMatchObject({ f: Number.POSITIVE_INFINITY, p: 0, etaSquared: 1 });
    expect(
      anova([
        [1, 1],
        [1, 1],
      ]),
    ).toMatchObject({ f: 0, p: 1, etaSquared: 0, omegaSquared: 0 });
    expect([cohensD([1, 1], [1, 1]), hedgesG([1, 1], [1, 1])]).toEqual([0, 0]);
  });
  test('one value has a mean and no spread', () => {
    expect(summarize([3])).toEqual({ n: 1, mean: 3, sd: Number.NaN, interval: [Number.NaN, Number.NaN], confidence: 0.95 });
  });
  test('a common part of 1e12 costs no digits of the spread', () => {
    expect(summarize([1, 2, 3, 4].map((value) => 1e12 + value)).sd).toBe(summarize([1, 2, 3, 4]).sd);
  });
  test('what cannot be compared is an error that lists every fault', () => {
    expect(() => welchTest([1, Number.NaN, Number.POSITIVE_INFINITY], [1, 2])).toThrow(
      'first[1] = NaN, first[2] = Infinity, expected finite numbers',
    );
    expect(() => welchTest([1, 2], [1])).toThrow('[welchTest] second has 1 value(s), expected at least 2');
    expect(() => summarize([])).toThrow('values has 0 value(s)');
    expect(() => anova([[1], [2]])).toThrow('every group has one value');
    expect(() => anova([[1, 2]])).toThrow('1 group(s)');
    expect(() => holm([0.1, -1, Number.NaN])).toThrow('p[1] = -1, p[2] = NaN');
    expect(() => compareGroups({ a: [1, 2], b: [1, 2] }, 'c')).toThrow('against "c" is no group, expected one of a, b');
    const run = (x: number, y: number, value = 1): Observation => ({ levels: { x, y }, value });
    expect(() => factorialAnova([run(1, 1), run(1, 1), run(2, 1), run(2, 2, Number.NaN)], ['x', 'y', 'z'])).toThrow(
      /1 value\(s\) that are not finite; 4 run\(s\) that do not say "z".*1 of 4 combinations without a run; 1 to 2 runs/,
    );
    expect(() => factorialAnova([run(1, 1), run(1, 2), run(2, 1), run(2, 2)], ['x', 'y'])).toThrow('Raise repeats, or lower order');
    try {
      summarize([]);
    } catch (error) {
      expect(EnergyError.is(error) && error.code).toBe('bad-sample');
    }
  });
});

describe('order', () => {
  test('every block holds every configuration once, and a seed gives one order', () => {
    const order = randomOrder(5, 40, 3);
    for (const block of order) expect([...block].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(randomOrder(5, 40, 3)).toEqual(order);
    expect(randomOrder(5, 40, 4)).not.toEqual(order);
  });
  test('every configuration comes at every place about equally often', () => {
    const blocks = 30_000;
    const counts = Array.from({ length: 3 }, () => [0, 0, 0]);
    for (const block of randomOrder(3, blocks, 1)) block.forEach((one, place) => (counts[one]![place]! += 1));
    // χ² of nine counts with four degrees of freedom: above 23.5 once in 10,000 seeds
    const expected = blocks / 3;
    const chi2 = counts.flat().reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chi2).toBeLessThan(23.5);
  });
});
