/** What the memory of a run was made of, as stacked areas over time, while it grows; another run behind it in gray. */
import type { MemoryCategory, MemoryData, MemoryPoint } from '@leantune/core';
import { svg } from '../element.ts';

export interface Curve {
  readonly label: string;
  readonly memory: MemoryData;
}

const W = 640;
const H = 260;
/** The scale in bytes before there is a run. */
const EMPTY = 100e6;
/** From the ground up. */
export const categories: readonly MemoryCategory[] = ['weights', 'optimizer', 'kept', 'gradients', 'transient'];

/** Draws `main` in areas by category, and behind it all of `other` in gray, on one scale. */
export function drawStack(chart: SVGSVGElement, main: Curve | undefined, other: Curve | undefined): void {
  const curves = [main, other].filter((curve) => curve !== undefined);
  const top = (curves.length > 0 ? Math.max(...curves.map(({ memory }) => memory.peakBytes)) : EMPTY) * 1.08;
  const end = Math.max(1, ...curves.map(({ memory }) => memory.timeline.at(-1)?.ms ?? 0));
  const x = (ms: number) => ((ms / end) * W).toFixed(1);
  const y = (bytes: number) => (H - (bytes / top) * H).toFixed(1);
  /** In steps, for a total holds until the next event. */
  const outline = (points: readonly MemoryPoint[], upTo: number) =>
    points.map((point) => `H${x(point.ms)}V${y(sumOf(point, upTo))}`).join('');
  chart.replaceChildren(...grid(top, end, y));
  if (other) {
    const last = x(other.memory.timeline.at(-1)?.ms ?? 0);
    chart.append(svg('path', { class: 'area stock', d: `M0 ${H}${outline(other.memory.timeline, categories.length - 1)}H${last}V${H}Z` }));
  }
  if (main) {
    // Each area reaches down to zero, the smaller are painted over the larger.
    const last = x(main.memory.timeline.at(-1)?.ms ?? 0);
    for (const [i, key] of [...categories.entries()].reverse())
      chart.append(svg('path', { class: `area ${key}`, d: `M0 ${H}${outline(main.memory.timeline, i)}H${last}V${H}Z` }));
  }
  for (const { label, memory } of curves) {
    const height = y(memory.peakBytes);
    chart.append(svg('line', { class: 'peak', x2: W, y1: height, y2: height }));
    chart.append(svg('text', { x: W - 4, y: Number(height) - 6, 'text-anchor': 'end' }, `${label}: peak ${megabytes(memory.peakBytes)}`));
  }
}

function grid(top: number, end: number, y: (bytes: number) => string): SVGElement[] {
  // The largest of 1, 2, 5 × 10ⁿ that gives three lines or more.
  const power = 10 ** Math.floor(Math.log10(top / 3));
  const step = power * ([5, 2].find((n) => top / n / power >= 3) ?? 1);
  const lines = Array.from({ length: Math.floor(top / step) + 1 }, (_, i) => [
    svg('line', { class: 'grid', x2: W, y1: y(i * step), y2: y(i * step) }),
    svg('text', { x: -8, y: Number(y(i * step)) + 4, 'text-anchor': 'end' }, `${Number(((i * step) / 1e6).toPrecision(3))}`),
  ]);
  return [
    ...lines.flat(),
    svg('text', { x: -8, y: -8, 'text-anchor': 'end' }, 'MB'),
    svg('text', { x: W, y: H + 18, 'text-anchor': 'end' }, `${(end / 1000).toFixed(1)} s`),
  ];
}

const sumOf = (point: MemoryPoint, upTo: number): number => categories.slice(0, upTo + 1).reduce((sum, key) => sum + point[key], 0);

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
