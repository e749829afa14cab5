/** A value over the steps of a run, and of another run dashed. */
import { svg } from '../element.ts';

const W = 300;
const H = 110;

/** A step, counted from 1, and the value after it. */
export type Point = readonly [step: number, value: number];

export interface Lines {
  readonly main: readonly Point[];
  readonly other: readonly Point[];
  readonly steps: number;
  /** The end of the scale, if it is known. */
  readonly top?: number;
}

export function drawLines(chart: SVGSVGElement, { main, other, steps, top }: Lines): void {
  const most = top ?? Math.max(0.1, ...[...main, ...other].map(([, value]) => value));
  const x = (step: number) => ((step / Math.max(1, steps)) * W).toFixed(1);
  const y = (value: number) => (H - (value / most) * H).toFixed(1);
  const path = (points: readonly Point[]) => points.map(([step, value], i) => `${i ? 'L' : 'M'}${x(step)} ${y(value)}`).join('');
  const label = (value: number) => `${Number(value.toPrecision(2))}`;
  chart.replaceChildren(
    svg('line', { class: 'grid', x2: W, y1: H, y2: H }),
    svg('line', { class: 'grid', x2: W, y1: 0, y2: 0 }),
    svg('text', { x: -6, y: 4, 'text-anchor': 'end' }, top === undefined ? label(most) : `${top}`),
    svg('text', { x: -6, y: H + 4, 'text-anchor': 'end' }, '0'),
    svg('path', { class: 'other', d: path(other) }),
    svg('path', { class: 'line', d: path(main) }),
    ...(main.at(-1) ? [svg('circle', { r: 4, cx: x(main.at(-1)![0]), cy: y(main.at(-1)![1]) })] : []),
  );
}
