/**
 * Observable Plot on the server: a plot as the text of an SVG that stands alone. Colors are CSS variables, so a page or the SVG itself makes
 * them light or dark.
 */
import * as Plot from '@observablehq/plot';
import { parseHTML } from 'linkedom';

const palette = {
  kept: ['#e08a00', '#f5a524'],
  gradients: ['#0e9f6e', '#34d399'],
  transient: ['#2b8fd0', '#5bbcf5'],
  stock: ['#8b95a5', '#7c8798'],
  leantune: ['#7c3aed', '#a78bfa'],
  torch: ['#dc4c3e', '#f87171'],
  keras: ['#0e7490', '#22d3ee'],
  'jax-js': ['#a16207', '#eab308'],
  ink: ['#1f2430', '#e6e8ee'],
  faint: ['#d9dde4', '#363c49'],
  paper: ['#ffffff', '#14161b'],
} as const;

export type Color = keyof typeof palette;

export const color = (name: Color): string => `var(--${name})`;

const declarations = (which: 0 | 1): string =>
  Object.entries(palette)
    .map(([name, pair]) => `--${name}:${pair[which]}`)
    .join(';');

/** The colors, for a page or, with `svg`, for a picture. */
export const colors = (root: ':root' | 'svg'): string =>
  `${root}{${declarations(0)}}@media(prefers-color-scheme:dark){${root}{${declarations(1)}}}`;

/** What a plot is of, above it; leave a `marginTop` of {@link TITLE}. */
export const titled = (text: string, marginLeft: number): Plot.Markish =>
  Plot.text([text], { frameAnchor: 'top-left', dx: 4 - marginLeft, dy: 6 - TITLE, fontSize: 14, fontWeight: 600, fill: color('ink') });

export const TITLE = 56;

/** A plot for a page that has {@link colors}. */
export function plot(options: Plot.PlotOptions): string {
  const { document } = parseHTML('<!doctype html><html><body></body></html>');
  const drawn = Plot.plot({
    ...options,
    document: document as unknown as Document,
    style: { color: color('ink'), background: 'transparent', fontSize: '13px', ...(options.style as object) },
  });
  return (drawn as unknown as { outerHTML: string }).outerHTML.replaceAll(
    '--plot-background: white',
    `--plot-background: ${color('paper')}`,
  );
}

/** A plot as a file of its own. */
export function picture(options: Plot.PlotOptions): string {
  return plot(options)
    .replace('<svg ', '<svg xmlns="http://www.w3.org/2000/svg" ')
    .replace('<style>', `<style>${colors('svg')}svg{background:var(--paper)}`);
}

export { Plot };
