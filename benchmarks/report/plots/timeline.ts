/** A training step from its first kernel to its last: what lives above the weights, with stock tfjs, under the tape, with all levers. */
import type { Comparison, LeverRow } from '../figures.ts';
import { color, Plot, TITLE, titled } from '../svg.ts';
import { parts } from './levers.ts';

export function timelinePlot({ contest, levers }: Comparison): Plot.PlotOptions {
  const [stock, tape, last] = [levers[0]!, levers[1]!, levers.at(-1)!];
  const totals = (row: LeverRow) => points(row).map(([at, kept, gradients, transient]) => ({ at, mb: kept! + gradients! + transient! }));
  const layers = points(last).flatMap(([at, ...values]) => values.map((mb, i) => ({ at, mb, part: parts[i]![1] })));
  return {
    ...{ width: 680, height: 290, marginLeft: 50, marginTop: TITLE, marginRight: 16, marginBottom: 36 },
    ariaLabel: `${contest.title}: memory over a training step`,
    x: { domain: [0, 1], label: 'share of the step, by buffers made and freed', tickFormat: '%', ticks: 5 },
    y: { label: null, grid: true, ticks: 5 },
    color: { domain: parts.map(([, label]) => label), range: parts.map(([part]) => color(part)) },
    marks: [
      titled(`${contest.title}: MB above weights`, 50),
      Plot.areaY(totals(stock), { x: 'at', y: 'mb', fill: color('stock'), fillOpacity: 0.28, curve: 'step' }),
      Plot.lineY(totals(stock), { x: 'at', y: 'mb', stroke: color('stock'), strokeWidth: 1.5, curve: 'step' }),
      Plot.lineY(totals(tape), { x: 'at', y: 'mb', stroke: color('leantune'), strokeWidth: 1.8, curve: 'step' }),
      Plot.areaY(layers, { x: 'at', y: 'mb', fill: 'part', curve: 'step' }),
      Plot.ruleY([0], { stroke: color('ink') }),
    ],
  };
}

const points = ({ outcome }: LeverRow): number[][] => (outcome.timeline ?? []).map(([at, ...bytes]) => [at!, ...bytes.map((b) => b / 1e6)]);
