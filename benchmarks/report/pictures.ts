/** The pictures of docs/results.md and the README: SVGs that stand alone. */
import { accuracies, comparisons } from './figures.ts';
import { accuracyPlot } from './plots/accuracy.ts';
import { leverPlot } from './plots/levers.ts';
import { timelinePlot } from './plots/timeline.ts';
import { picture } from './svg.ts';

interface Picture {
  readonly name: string;
  draw(): string;
}

export function pictures(): readonly Picture[] {
  const known = accuracies();
  return [
    ...comparisons().flatMap((comparison): Picture[] => [
      { name: `levers-${comparison.contest.id}`, draw: () => picture(leverPlot(comparison)) },
      { name: `timeline-${comparison.contest.id}`, draw: () => picture(timelinePlot(comparison)) },
    ]),
    ...(known ? [{ name: 'accuracy', draw: () => picture(accuracyPlot(known)) }] : []),
  ];
}
