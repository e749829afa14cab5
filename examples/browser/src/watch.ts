/** The panel that shows a run while it lasts, and two runs side by side: loss, accuracy, memory, and the figures in words. */
import type { MemoryData } from '@leantune/core';
import { drawLines, type Point } from './charts/lines.ts';
import { categories, drawStack, megabytes } from './charts/stack.ts';
import { find } from './element.ts';
import type { By, Progress } from './training/train.ts';

/** All that was seen of a run. */
export interface Record {
  readonly by: By;
  readonly backend: string;
  readonly steps: number;
  readonly losses: readonly Point[];
  /** Pictures told right, of those that are kept to check with, after each epoch. */
  readonly right: readonly Point[];
  readonly checked: number;
  readonly memory: MemoryData | undefined;
}

const names: { readonly [by in By]: string } = { LeanTune: 'LeanTune', tfjs: 'stock tfjs' };

export const emptyRecord = (by: By, backend: string, checked: number): Record => ({
  by,
  backend,
  steps: 0,
  losses: [],
  right: [],
  checked,
  memory: undefined,
});

export function follow(record: Record, { step, steps, loss, right, memory }: Progress): Record {
  const seen = right === undefined ? record.right : [...record.right, [step, right] as const];
  return { ...record, steps, losses: [...record.losses, [step, loss]], right: seen, memory };
}

/** `lean` in colors and full lines; `stock` in gray, and dashed. */
export function show(lean: Record | undefined, stock: Record | undefined): void {
  const curve = (record: Record | undefined) => (record?.memory ? { label: names[record.by], memory: record.memory } : undefined);
  drawStack(find('#memory-chart'), curve(lean), curve(stock));
  const steps = Math.max(lean?.steps ?? 0, stock?.steps ?? 0);
  drawLines(find('#loss-chart'), { main: lean?.losses ?? [], other: stock?.losses ?? [], steps });
  const top = Math.max(lean?.checked ?? 0, stock?.checked ?? 0, 1);
  drawLines(find('#accuracy-chart'), { main: lean?.right ?? [], other: stock?.right ?? [], steps, top });
  find('#loss').textContent = last(lean?.losses)?.toFixed(3) ?? '–';
  const right = last(lean?.right);
  find('#accuracy').textContent = right === undefined ? '–' : `${right} of ${lean!.checked}`;
  table(lean?.memory, stock?.memory);
  find('#comparison').textContent = comparison(lean?.memory, stock?.memory);
}

function table(lean: MemoryData | undefined, stock: MemoryData | undefined): void {
  for (const [column, memory] of [
    ['lean', lean],
    ['stock', stock],
  ] as const) {
    const cell = (row: string, bytes: number | undefined) => {
      find(`#memory-table [data-row=${row}] .${column}`).textContent = bytes === undefined ? '–' : bytes.toLocaleString('en');
    };
    for (const key of categories) cell(key, memory?.atPeak[key]);
    cell('peak', memory?.peakBytes);
  }
}

function comparison(lean: MemoryData | undefined, stock: MemoryData | undefined): string {
  if (!lean) return '';
  const gpu = lean.gpu ? ` The GPU's pool held ${megabytes(lean.gpu.allocatedBytes)}.` : '';
  if (!stock) return `The run takes ${megabytes(lean.peakBytes)} at its peak.${gpu}`;
  const share = ((100 * lean.peakBytes) / stock.peakBytes).toFixed(1);
  return `LeanTune takes ${megabytes(lean.peakBytes)} where stock tfjs takes ${megabytes(stock.peakBytes)}: ${share} % of it.${gpu}`;
}

const last = (points: readonly Point[] | undefined): number | undefined => points?.at(-1)?.[1];
