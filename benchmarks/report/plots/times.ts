/** Times of a step, over full training: with stock tfjs on the same backend, or with the peer itself. */
import { type Comparison, ran, timeRatio, wordsOf } from '../figures.ts';
import { color, Plot, TITLE, titled } from '../svg.ts';
import { engines } from './peers.ts';

export function timePlot(comparison: Comparison): Plot.PlotOptions {
  const dots = comparison.rows.filter(ran).flatMap((row) => {
    const ratio = timeRatio(comparison, row);
    return ratio === undefined || (row.cell.method === 'full' && row.cell.engine !== 'leantune')
      ? []
      : [{ name: wordsOf(row.cell), engine: row.cell.engine, ratio }];
  });
  dots.sort((a, b) => a.ratio - b.ratio);
  return {
    ...{ width: 680, height: TITLE + 10 + 21 * dots.length, marginLeft: 330, marginRight: 50, marginTop: TITLE, marginBottom: 10 },
    ariaLabel: `${comparison.contest.title}: time of a step`,
    x: {
      domain: [0, Math.max(2, ...dots.map(({ ratio }) => ratio))],
      label: null,
      axis: 'top',
      ticks: 5,
      grid: true,
    },
    y: { domain: dots.map(({ name }) => name), label: null, tickSize: 0 },
    color: { domain: engines.map(([engine]) => engine), range: engines.map(([engine]) => color(engine)) },
    marks: [
      titled(`${comparison.contest.title}: time of a step, × of full training`, 330),
      Plot.ruleX([1], { stroke: color('ink'), strokeDasharray: '3 4' }),
      Plot.ruleY(dots, { y: 'name', x1: 1, x2: 'ratio', stroke: 'engine', strokeWidth: 2, strokeOpacity: 0.6 }),
      Plot.dot(dots, { y: 'name', x: 'ratio', fill: 'engine', r: 5 }),
      Plot.text(dots, {
        y: 'name',
        x: ({ ratio }: { ratio: number }) => Math.max(1, ratio),
        text: ({ ratio }: { ratio: number }) => `×${ratio.toFixed(2)}`,
        textAnchor: 'start',
        dx: 9,
        fill: color('ink'),
        fontSize: 12,
      }),
    ],
  };
}
