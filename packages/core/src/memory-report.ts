/** What the tracker found: plain data (JSON.stringify gives the figures), a table for a terminal or a README, a page for a browser. */
import { gpuNote, type MemoryData, tables, unitFor } from './memory-data.ts';
import { type HtmlOptions, memoryPage } from './memory-html.ts';

export interface MemoryReport extends MemoryData {
  /** A fixed-width table. */
  toString(): string;
  /** A self-contained page with the timeline as a picture. */
  toHTML(options?: HtmlOptions): string;
}

export function memoryReport(data: MemoryData): MemoryReport {
  return { ...data, toString: () => text(data), toHTML: (options) => memoryPage(data, options) };
}

function text(data: MemoryData): string {
  const unit = unitFor(data.peakBytes);
  const blocks = tables(data, unit);
  const widths = [0, 1, 2].map((column) => Math.max(...blocks.flat().map((row) => row[column]!.length)));
  const line = ([label, ...cells]: string[]) =>
    [label!.padEnd(widths[0]!), ...cells.map((cell, i) => cell.padStart(widths[i + 1]!))].join('  ');
  return [...blocks.map((rows) => rows.map(line).join('\n')), gpuNote(data, unit)].filter(Boolean).join('\n\n');
}
