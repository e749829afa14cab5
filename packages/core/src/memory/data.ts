/** The figures of a measurement, and how they are named and printed. */

export type MemoryCategory = 'weights' | 'optimizer' | 'kept' | 'gradients' | 'transient';
/** Bytes. */
export type MemoryByCategory = Readonly<Record<MemoryCategory, number>>;

/** The totals after one event (a buffer made, freed, or found a purpose). */
export interface MemoryPoint extends MemoryByCategory {
  readonly event: number;
  /** Since tracking began. On GPU backends, when the kernel was submitted. */
  readonly ms: number;
}

/** Values that wait for the gradient of one kernel in one layer. */
export interface KeptRow {
  /** '' outside a model, and for stock tfjs, which does not know. */
  readonly layer: string;
  readonly kernel: string;
  readonly bytes: number;
  readonly count: number;
}

/** A report as plain data: for files, and for other tools. */
export interface MemoryData {
  readonly backend: string;
  /** The largest total of live buffers. */
  readonly peakBytes: number;
  /** What the peak was made of; sums to `peakBytes`. */
  readonly atPeak: MemoryByCategory;
  /** The largest total without weights: what training needs beside the model. */
  readonly peakAboveWeights: number;
  /** The most that waited for backward at one moment. */
  readonly keptBytes: number;
  /** What waited at that moment, largest first; sums to `keptBytes`. */
  readonly kept: readonly KeptRow[];
  /** At most 600 points in order, among them the peak. */
  readonly timeline: readonly MemoryPoint[];
  /** The backend's own figures, on GPUs, the largest of those sampled: bytes of live tensors, and with free blocks of its pool. */
  readonly gpu?: { readonly usedBytes: number; readonly allocatedBytes: number };
}

export const categories: { readonly [category in MemoryCategory]: string } = {
  weights: 'weights',
  optimizer: 'optimizer',
  kept: 'kept for backward',
  gradients: 'gradients',
  transient: 'transient',
};

export const keys = Object.keys(categories) as readonly MemoryCategory[];

export interface Unit {
  readonly name: string;
  /** Without the name. */
  readonly format: (bytes: number) => string;
  /** With it. */
  readonly size: (bytes: number) => string;
}

/** Decimal units, as file managers and GPU vendors print them: 1 MB = 1,000,000 bytes. */
export function unitFor(bytes: number): Unit {
  const power = [1e9, 1e6, 1e3].findIndex((size) => bytes >= size);
  const name = ['B', 'GB', 'MB', 'kB'][power + 1]!;
  const format = (b: number) => (power < 0 ? `${b}` : (b / 1000 ** (3 - power)).toFixed(2));
  return { name, format, size: (b) => `${format(b)} ${name}` };
}

export const percentOf = (bytes: number, whole: number): string => ((100 * bytes) / (whole || 1)).toFixed(1);

const TOP = 10;

/** The peak by category, and what was kept by layer and kernel: rows of cells, the first a heading. */
export function tables({ backend, peakBytes, atPeak, keptBytes, kept }: MemoryData, { name, format, size }: Unit): string[][][] {
  const share = (label: string, bytes: number) => [label, format(bytes), percentOf(bytes, peakBytes)];
  const line = (label: string, rows: readonly KeptRow[]) => [label, format(sum(rows, 'bytes')), `${sum(rows, 'count')}`];
  const peak = [['at peak', name, '%'], ...keys.map((key) => share(categories[key], atPeak[key])), share(`total (${backend})`, peakBytes)];
  const rest = kept.slice(TOP);
  const rows = kept.slice(0, TOP).map((row) => line(`${row.layer} ${row.kernel}`.trim(), [row]));
  if (rest.length > 0) rows.push(line(`${rest.length} more`, rest));
  return rows.length > 0 ? [peak, [[`kept, at most ${size(keptBytes)}`, name, 'values'], ...rows]] : [peak];
}

const sum = (rows: readonly KeptRow[], key: 'bytes' | 'count'): number => rows.reduce((total, row) => total + row[key], 0);

/** Which figure is which, on a GPU; '' elsewhere. */
export const gpuNote = ({ gpu }: MemoryData, { size }: Unit): string =>
  gpu
    ? `GPU: the backend says ${size(gpu.usedBytes)} in use, ${size(gpu.allocatedBytes)} allocated with its pool. The table counts live tensors.`
    : '';

/** Tables whose columns line up: the first to the left, figures to the right. */
export function aligned(blocks: readonly (readonly (readonly string[])[])[]): string[] {
  const width = (column: number) => Math.max(...blocks.flat().map((row) => row[column]?.length ?? 0));
  const cell = (text: string, column: number) => (column === 0 ? text.padEnd(width(0)) : text.padStart(width(column)));
  return blocks.map((rows) => rows.map((row) => row.map(cell).join('  ')).join('\n'));
}
