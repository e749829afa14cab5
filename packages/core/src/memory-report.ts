/** What the tracker found: plain data (JSON.stringify gives the figures), a table for a terminal or a README, a page for a browser. */
import { type KeptRow, type MemoryCategory, type MemoryData, categories, percentOf, unitFor } from './memory-data.ts';
import { type HtmlOptions, memoryPage } from './memory-html.ts';

export interface MemoryReport extends MemoryData {
  /** A fixed-width table. */
  toString(): string;
  /** A self-contained page with the timeline as a picture. */
  toHTML(options?: HtmlOptions): string;
}

export function memoryReport(data: MemoryData): MemoryReport {
  return { ...data, toString: () => table(data), toHTML: (options) => memoryPage(data, options) };
}

const TOP = 8;

function table({ backend, peakBytes, atPeak, keptBytes, kept, gpu }: MemoryData): string {
  const { name: unit, format } = unitFor(peakBytes);
  const whole = (bytes: number): string => `${format(bytes)} ${unit}`;
  const line = (name: string, bytes: number) => [name, format(bytes), percentOf(bytes, peakBytes)];
  const rest = kept.slice(TOP);
  const blocks = [
    [
      ['at peak', unit, '%'],
      ...Object.entries(categories).map(([key, name]) => line(name, atPeak[key as MemoryCategory])),
      line(`total (${backend})`, peakBytes),
    ],
    kept.length > 0 && [
      [`kept, at most ${whole(keptBytes)}`, unit, 'values'],
      ...kept.slice(0, TOP).map((row) => [[row.layer, row.kernel].filter(Boolean).join(' '), format(row.bytes), `${row.count}`]),
      ...(rest.length ? [[`${rest.length} more`, format(sum(rest, 'bytes')), `${sum(rest, 'count')}`]] : []),
    ],
  ].filter((block) => !!block);
  const rows = blocks.flat();
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const text = blocks.map((block) => block.map((row) => row.map((cell, i) => (i ? cell.padStart(widths[i]!) : cell.padEnd(widths[0]!))).join('  ')).join('\n'));
  if (gpu) text.push(`GPU, as ${backend} counts: ${whole(gpu.usedBytes)} in use, ${whole(gpu.allocatedBytes)} allocated with its pool. The table counts live tensors.`);
  return text.join('\n\n');
}

const sum = (rows: readonly KeptRow[], key: 'bytes' | 'count'): number => rows.reduce((total, row) => total + row[key], 0);
