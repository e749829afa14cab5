/** Peaks of all engines on one model, and what trains there. */
import { type Comparison, type Ran, ran, trainedShare, wordsOf } from '../figures.ts';
import { type Color, color, Plot, TITLE, titled } from '../svg.ts';
import { digits } from './levers.ts';

export const engines: readonly (readonly [Color, string])[] = [
  ['stock', 'stock tfjs'],
  ['leantune', 'LeanTune'],
  ['torch', 'PyTorch, peft'],
  ['keras', 'Keras'],
  ['jax-js', 'jax-js'],
];

const colorScale = { domain: engines.map(([engine]) => engine), range: engines.map(([engine]) => color(engine)) };

/** Backends beside wasm hold the same or nearly so. */
const shown = ({ rows }: Comparison): readonly Ran[] =>
  rows.filter(ran).filter(({ cell }) => !['tensorflow', 'webgpu'].includes(cell.backend));

export function peerPlot(comparison: Comparison): Plot.PlotOptions {
  const rows = [...shown(comparison)].sort((a, b) => a.outcome.peakAboveWeights - b.outcome.peakAboveWeights);
  const bars = rows.map((row) => ({ name: wordsOf(row.cell), engine: row.cell.engine, mb: row.outcome.peakAboveWeights / 1e6 }));
  const most = Math.max(...bars.map(({ mb }) => mb));
  return {
    ...{ width: 680, height: TITLE + 10 + 21 * bars.length, marginLeft: 300, marginRight: 56, marginTop: TITLE, marginBottom: 10 },
    ariaLabel: `${comparison.contest.title}: peaks of all engines`,
    x: {
      domain: [0, most],
      label: null,
      axis: 'top',
      ticks: 4,
      grid: true,
    },
    y: { domain: bars.map(({ name }) => name), label: null, tickSize: 0, padding: 0.25 },
    color: colorScale,
    marks: [
      titled(`${comparison.contest.title}: MB above weights`, 300),
      Plot.barX(bars, { y: 'name', x: 'mb', fill: 'engine' }),
      Plot.text(bars, {
        y: 'name',
        x: 'mb',
        text: ({ mb }: { mb: number }) => digits(mb),
        textAnchor: 'start',
        dx: 5,
        fill: color('ink'),
        fontSize: 12,
      }),
      Plot.ruleX([0], { stroke: color('ink') }),
    ],
  };
}

/** Few trained parameters alone save little: what waits for backward decides. */
export function sharePlot(comparison: Comparison): Plot.PlotOptions {
  const dots = shown(comparison).map((row) => {
    const words = wordsOf(row.cell);
    return { words, engine: row.cell.engine, share: 100 * trainedShare(comparison, row), mb: row.outcome.peakAboveWeights / 1e6 };
  });
  return {
    ...{ width: 680, height: 350, marginLeft: 54, marginTop: TITLE, marginRight: 24, marginBottom: 40 },
    ariaLabel: `${comparison.contest.title}: peak against what trains`,
    x: { type: 'log', label: 'trained, % of the parameters', tickFormat: (value: number) => `${value}`, ticks: 5 },
    y: {
      type: 'log',
      label: null,
      grid: true,
      tickFormat: (value: number) => `${value}`,
      ticks: 4,
    },
    color: colorScale,
    marks: [
      titled(`${comparison.contest.title}: MB above weights`, 54),
      Plot.dot(dots, { x: 'share', y: 'mb', fill: 'engine', r: 5, fillOpacity: 0.8, title: 'words' }),
    ],
  };
}
