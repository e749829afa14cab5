import { describe, expect, test } from 'vitest';
import { type Figures, hasRun, nameOf } from '../compare/cell.ts';
import { contestsOf } from '../compare/contests.ts';
import { planOf } from '../compare/matrix.ts';
import { stackOf } from '../compare/stacks.ts';
import { readResults, SEED } from '../compare/store.ts';
import { tfjsCell } from '../compare/tfjs-cell.ts';
import { comparisons, peakRatio } from '../report/figures.ts';

const contests = contestsOf(false);

describe.each(contests.map((contest) => [contest.id, contest] as const))('%s', (_, contest) => {
  const { cells } = readResults(contest, SEED);
  const figures = Object.entries(cells).flatMap(([name, outcome]): [string, Figures][] => (hasRun(outcome) ? [[name, outcome]] : []));

  test('was measured at the size that it has now, and has no cell that the matrix has not', () => {
    expect(figures.length).toBeGreaterThan(0);
    const names = planOf(contest).cells.map(nameOf);
    expect(Object.keys(cells).filter((name) => !names.includes(name))).toEqual([]);
  });

  test('has whole bytes, of which the parts make up the peak, and no more trained than there is', () => {
    for (const [name, { peakAboveWeights, atPeak, trained, parameters, loss }] of figures) {
      expect([name, Number.isInteger(peakAboveWeights), Number.isFinite(loss)]).toEqual([name, true, true]);
      expect(trained).toBeGreaterThan(0);
      if (name.includes('full')) expect(trained).toBeLessThanOrEqual(parameters);
      if (atPeak) {
        const { optimizer, kept, gradients, transient } = atPeak;
        expect([name, optimizer + kept + gradients + transient]).toEqual([name, peakAboveWeights]);
      }
    }
  });

  test('has the same first loss under stock tfjs and under the tape: to the bit, or with batch norms, which are kernels of ours, up to rounding', () => {
    const [stock, tape] = [cells['stock wasm: full'], cells['leantune wasm: full']];
    const off = hasRun(stock) && hasRun(tape) ? Math.abs(stock.loss - tape.loss) / stock.loss : Number.NaN;
    expect(off).toBeLessThanOrEqual(/^(mobilenet|resnet)/.test(contest.id) ? 2e-5 : 0);
  });

  test('takes names of levers that there are', () => {
    const stacks = planOf(contest).cells.filter(({ engine }) => engine === 'leantune');
    for (const { method } of stacks) expect(() => stackOf(method, { head: 'head', adapted: 'body' })).not.toThrow();
    expect(() => stackOf('full + nonsense', { head: 'head', adapted: 'body' })).toThrow('got lever nonsense');
  });
});

test('every lever that is measured leaves less than a quarter of the peak of stock tfjs, but for the tape on a vocabulary', () => {
  const above = comparisons().flatMap((comparison) =>
    comparison.levers.slice(1).flatMap((row) => (peakRatio(comparison, row) > 0.25 ? [`${comparison.contest.id} ${row.cell.method}`] : [])),
  );
  expect(above.filter((name) => name !== 'stories15M full')).toEqual([]);
});

test('in miniature a cell of each engine runs, and all levers hold less', { timeout: 120_000 }, async () => {
  const contest = contestsOf(true).find(({ id }) => id === 'minilm')!;
  const { chain } = planOf(contest);
  const run = (i: number) => tfjsCell({ ...contest, cell: chain.at(i)!.cell, seed: SEED, timeline: true });
  const [stock, all] = [await run(0), await run(-1)];
  expect(all.peakAboveWeights).toBeLessThan(stock.peakAboveWeights / 2);
  expect(all.trained).toBeLessThan(stock.trained);
  for (const { timeline, peakAboveWeights } of [stock, all]) {
    const totals = timeline!.map(([, ...bytes]) => bytes.reduce((sum, value) => sum + value, 0));
    expect(Math.max(...totals)).toBe(peakAboveWeights);
  }
});
