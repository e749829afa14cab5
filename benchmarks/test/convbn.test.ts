/** What the committed results of convbn say, against the figures that Tune mode is for. */
import { describe, expect, test } from 'vitest';
import type { AccuracyResult } from '../convbn/accuracy.ts';
import type { ModesResult } from '../convbn/modes.ts';
import type { StabilityResult } from '../convbn/stability.ts';
import { readJson } from '../documents.ts';

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

const keptBy = (rows: ModesResult['rows']) => (mode: string) => rows.find((row) => row.mode === mode)?.keptBytes ?? Number.NaN;

describe.each([96, 224])('ResNet-50 at %i px, batch 16', (size) => {
  const { rows, batch } = readJson<ModesResult>(`convbn/results/modes-${size}.json`);
  const kept = keptBy(rows);

  test('Tune mode keeps at most 0.55 of what Eval mode does, with the same loss', () => {
    expect(batch).toBe(16);
    expect(kept('Tune') / kept('Eval')).toBeLessThanOrEqual(0.55);
    const [even, tune] = ['Eval', 'Tune'].map((mode) => rows.find((row) => row.mode === mode)!.loss);
    expect(Math.abs(tune! / even! - 1)).toBeLessThanOrEqual(1e-5);
  });
});

test('at 96 px, where stock tfjs was measured too, Tune mode keeps at most 0.30 of what that does', () => {
  const { rows } = readJson<ModesResult>('convbn/results/modes-96.json');
  const kept = keptBy(rows);
  expect(kept('Tune') / kept('stock tfjs, Eval')).toBeLessThanOrEqual(0.3);
  expect(kept('Tune') / kept('stock tfjs, Train')).toBeLessThanOrEqual(0.3);
});

test('accuracy in Tune mode is within 0.3 points of Eval mode, over three seeds', () => {
  const { seeds } = readJson<AccuracyResult>('convbn/results/accuracy.json');
  expect(seeds.map(({ seed }) => seed)).toEqual([1, 2, 3]);
  expect(Math.abs(mean(seeds.map((s) => s.tuneMode)) - mean(seeds.map((s) => s.evalMode)))).toBeLessThanOrEqual(0.003);
});

test.each(['0.0003', '0.001'])('at rate %s Deploy mode leaps where Tune mode goes as Eval mode does', (rate) => {
  const { curves } = readJson<StabilityResult>(`convbn/results/stability-${rate}.json`);
  const early = (mode: string) => mean(curves.find((curve) => curve.mode === mode)!.losses.slice(1, 8));
  expect(early('tuneMode') / early('evalMode')).toBeCloseTo(1, 1);
  expect(early('deployMode') / early('evalMode')).toBeGreaterThan(1.5);
});
