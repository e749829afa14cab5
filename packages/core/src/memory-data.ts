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

/** Decimal units, as file managers and GPU vendors print them: 1 MB = 1,000,000 bytes. */
export function unitFor(bytes: number): { readonly name: string; readonly format: (bytes: number) => string } {
  const power = Math.min(3, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const format = (b: number) => (b / 1000 ** power).toFixed(power && 2);
  return { name: ['B', 'kB', 'MB', 'GB'][power]!, format };
}

export const percentOf = (bytes: number, whole: number): string => ((100 * bytes) / (whole || 1)).toFixed(1);
