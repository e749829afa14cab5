/** Accuracy against memory: up and to the left is better. */
import type { Accuracies } from '../../compare/accuracy.ts';
import { mean, wordsOf } from '../figures.ts';
import { type Color, color, Plot } from '../svg.ts';

export function accuracyPlot({ methods }: Accuracies): Plot.PlotOptions {
  const runs = Object.entries(methods).flatMap(([name, { runs: bySeed }]) => {
    const [engine, method] = name.split(': ') as ['leantune' | 'torch', string];
    const label = wordsOf({ engine, backend: '', method }).replace('blocks + ', '').replace('blocks', 'full');
    return Object.values(bySeed).map(({ accuracy, peakAboveWeights }) => ({
      engine,
      label,
      accuracy: 100 * accuracy,
      mb: peakAboveWeights / 1e6,
    }));
  });
  const means = [...new Set(runs.map(({ label }) => label))].map((label) => {
    const own = runs.filter((run) => run.label === label);
    return { ...own[0]!, accuracy: mean(own.map(({ accuracy }) => accuracy)) };
  });
  const engines: readonly Color[] = ['leantune', 'torch'];
  return {
    ...{ width: 680, height: 380, marginLeft: 54, marginTop: 30, marginRight: 120, marginBottom: 40 },
    ariaLabel: 'Accuracy against the peak above weights',
    x: { label: 'MB above weights', grid: true, domain: [0, Math.max(...runs.map(({ mb }) => mb)) * 1.1] },
    y: { label: 'test accuracy, %', grid: true, nice: true },
    color: { domain: [...engines], range: engines.map(color) },
    marks: [
      Plot.dot(runs, { x: 'mb', y: 'accuracy', fill: 'engine', r: 3, fillOpacity: 0.45 }),
      Plot.dot(means, { x: 'mb', y: 'accuracy', fill: 'engine', r: 6 }),
      Plot.text(means, {
        x: 'mb',
        y: 'accuracy',
        text: 'label',
        textAnchor: 'start',
        dx: 10,
        fill: color('ink'),
        stroke: color('paper'),
        strokeWidth: 4,
      }),
    ],
  };
}
