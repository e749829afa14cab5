/** The waterfall of levers: what each leaves of the peak, and what that is made of. */
import type { Comparison, LeverRow } from '../figures.ts';
import { peakRatio } from '../figures.ts';
import { type Color, color, Plot, TITLE, titled } from '../svg.ts';

export const parts: readonly (readonly [Color, string])[] = [
  ['kept', 'kept for backward'],
  ['gradients', 'gradients'],
  ['transient', 'transient'],
];

export function leverPlot(comparison: Comparison): Plot.PlotOptions {
  const { contest, levers } = comparison;
  const name = (row: LeverRow, i: number) => (i === 0 ? row.lever : `+ ${row.lever}`);
  const names = levers.map(name);
  const bars = levers.flatMap((row, i) => parts.map(([part, label]) => ({ lever: names[i], part: label, mb: bytesOf(row, part) / 1e6 })));
  const labels = levers.map((row, i) => {
    const { peakAboveWeights } = row.outcome;
    const share = i === 0 ? '' : `  ${(100 * peakRatio(comparison, row)).toFixed(1)} %`;
    return { lever: names[i], mb: peakAboveWeights / 1e6, text: `${digits(peakAboveWeights / 1e6)} MB${share}` };
  });
  const most = labels[0]!.mb;
  return {
    ...{ width: 680, height: TITLE + 10 + 34 * levers.length, marginLeft: 150, marginRight: 20, marginTop: TITLE, marginBottom: 10 },
    ariaLabel: `${contest.title}: peak above weights, lever by lever`,
    x: { domain: [0, most * 1.2], label: null, axis: 'top', ticks: 5, grid: true },
    y: { domain: names, label: null, tickSize: 0, padding: 0.28 },
    color: { domain: parts.map(([, label]) => label), range: parts.map(([part]) => color(part)) },
    marks: [
      titled(`${contest.title}: MB above weights`, 150),
      Plot.barX(bars, { y: 'lever', x: 'mb', fill: 'part', insetRight: 0.5 }),
      Plot.text(labels, { y: 'lever', x: 'mb', text: 'text', textAnchor: 'start', dx: 6, fontWeight: 600, fill: color('ink') }),
      Plot.ruleX([0], { stroke: color('ink') }),
    ],
  };
}

/** Optimizer state, which SGD has none of, would be transient here. */
function bytesOf({ outcome }: LeverRow, part: Color): number {
  const { kept = 0, gradients = 0 } = outcome.atPeak ?? {};
  if (part === 'kept') return kept;
  return part === 'gradients' ? gradients : outcome.peakAboveWeights - kept - gradients;
}

/** Three significant digits. */
export const digits = (value: number): string => value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
