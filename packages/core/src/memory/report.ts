/** What the tracker found: plain data (JSON.stringify gives the figures), a table for a terminal or a README, a page for a browser. */
import { aligned, gpuNote, type MemoryData, tables, unitFor } from './data.ts';
import { type HtmlOptions, memoryPage } from './html.ts';

/** Where memory went. `String(report)` is a table. */
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
  return [...aligned(tables(data, unit)), gpuNote(data, unit)].filter(Boolean).join('\n\n');
}
