import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { staleDocuments } from '../documents.ts';
import { type Experiment, levers, type Result, type Side } from '../experiment.ts';
import { allTables, readResults } from '../tables.ts';

const results = readResults();
const names = readdirSync(new URL('../experiments/', import.meta.url)).map((file) => file.replace(/\.json$/, ''));
const experimentOf = (name: string): Experiment =>
  JSON.parse(readFileSync(new URL(`../experiments/${name}.json`, import.meta.url), 'utf8'));
const rowOf = (result: Result, lever: string) => result.rows.find((row) => row.lever === lever);

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const deviation = (values: readonly number[]): number =>
  Math.sqrt(values.reduce((sum, value) => sum + (value - mean(values)) ** 2, 0) / (values.length - 1));

test('every experiment has a result and every result an experiment', () => {
  expect(results.map(({ experiment }) => experiment)).toEqual([...names].sort());
});

test('the tables of the documents are what the results say', () => {
  expect(staleDocuments(allTables).map(({ file }) => file)).toEqual([]);
});

describe.each(results.map((result) => [result.experiment, result] as const))('%s', (name, result) => {
  test('was run as the experiment asks', () => {
    const { title, backend, model, batch, levers: asked, steps } = experimentOf(name);
    expect(result).toMatchObject({ title, backend, model, batch, steps });
    expect(result.rows.map(({ lever }) => lever)).toEqual(asked);
    expect(levers).toEqual(expect.arrayContaining([...asked]));
  });

  test('says where and when it was run, without naming the machine', () => {
    expect(new Date(result.date).toISOString()).toBe(result.date);
    expect(Object.keys(result.versions).sort()).toEqual(['leantune', 'node', 'tfjs']);
    expect(Object.keys(result.machine).sort()).toEqual(['cores', 'cpu', 'memoryGiB']);
    expect(result.load).toHaveLength(2);
  });

  test('has whole bytes whose categories make up the peak', () => {
    for (const side of result.rows.flatMap(({ stock, leantune }): Side[] => [stock, leantune])) {
      const above = Object.entries(side.atPeak).reduce((sum, [category, bytes]) => (category === 'weights' ? sum : sum + bytes), 0);
      expect(above).toBeLessThanOrEqual(side.peakAboveWeights);
      for (const bytes of [side.peakAboveWeights, side.kept, ...Object.values(side.atPeak)])
        expect(Number.isInteger(bytes) && bytes >= 0).toBe(true);
      expect(side.millisecondsPerStep).toBeGreaterThan(0);
    }
  });

  test('has ratios that follow from its figures', () => {
    for (const { stock, leantune, ratio } of result.rows) {
      expect(ratio.peak).toBeCloseTo(leantune.peakAboveWeights / stock.peakAboveWeights, 3);
      expect(ratio.time / (leantune.millisecondsPerStep / stock.millisecondsPerStep)).toBeCloseTo(1, 2);
    }
  });

  test('has equal losses, weights and gradients on both engines: to the bit on cpu, and on wasm where no batch norm trains; else up to rounding', () => {
    const norms = /^(mobilenet|resnet)/.test(result.model.name);
    for (const { lever, equality } of result.rows) {
      const { gradientsBitEqual, stepsBitEqual, maxRelativeDifference, error } = equality;
      if (result.backend === 'cpu' || (result.backend === 'wasm' && (!norms || lever === 'head')))
        expect([lever, gradientsBitEqual, stepsBitEqual]).toEqual([lever, true, true]);
      // A deep network of norms and relus with random weights turns a rounding into a hundredth of its gradients. Stock is that far from
      // float64 too, now nearer than LeanTune and now farther, so they are held to float64 and not to each other: on average over the seeds
      // LeanTune is to be no farther off than stock, within two standard errors of what stock's own errors vary by.
      if (!error || Math.max(...error.stock) < 1e-5) expect(maxRelativeDifference).toBeLessThan(1e-5);
      if (!error) continue;
      expect([error.stock.length, error.leantune.length]).toEqual([6, 6]);
      expect(mean(error.leantune) - mean(error.stock)).toBeLessThanOrEqual(2 * deviation(error.stock) * Math.sqrt(2 / error.stock.length));
    }
  });
});

describe.each(results.filter(({ backend }) => backend === 'wasm').map((result) => [result.experiment, result] as const))(
  '%s on wasm',
  (_, result) => {
    test('trains fully in at most 0.45 of the stock peak, and 0.25 with checkpoints', () => {
      expect(rowOf(result, 'full')?.ratio.peak).toBeLessThanOrEqual(0.45);
      expect(rowOf(result, 'full + checkpoint')?.ratio.peak).toBeLessThanOrEqual(0.25);
    });

    test('trains its head in at most 1.15 of the peak of predict', () => {
      const head = rowOf(result, 'head');
      expect((head?.leantune.peakAboveWeights ?? Number.NaN) / (head?.predict.peakAboveWeights ?? Number.NaN)).toBeLessThanOrEqual(1.15);
    });
  },
);

describe.each(results.filter(({ backend }) => backend === 'tensorflow').map((result) => [result.experiment, result] as const))(
  '%s on tensorflow',
  (_, result) => {
    test('takes at most 0.45 of what TensorFlow’s own allocator held for stock', () => {
      for (const { stock, leantune } of result.rows) expect(leantune.allocatorPeak! / stock.allocatorPeak!).toBeLessThanOrEqual(0.45);
    });
  },
);
