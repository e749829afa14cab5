/**
 * Results on disk: one file a model, one line a cell, so that a run that was cut off goes on where it was. A file is written beside and
 * renamed; a cell is never edited, only measured again.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { type Cell, type Contest, nameOf, type Outcome } from './cell.ts';

/** Of the weights and batches. */
export const SEED = 17;

/** A cell's outcome with where and when it was measured. */
export type Record = Outcome & {
  readonly date: string;
  /** Null outside a git checkout. */
  readonly commit: string | null;
  /** Index into `machines` of the file. */
  readonly machine: number;
  readonly versions: { readonly [name: string]: string };
};

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
}

export interface Results extends Omit<Contest, 'id'> {
  readonly model: string;
  readonly seed: number;
  readonly machines: readonly Machine[];
  readonly cells: { readonly [name: string]: Record };
}

const folder = new URL('results/', import.meta.url);
const fileOf = (id: string): URL => new URL(`${id}.json`, folder);

/** What is known of a model; nothing, if it was measured at another size. */
export function readResults(contest: Contest, seed: number): Results {
  const { id, ...rest } = contest;
  const empty: Results = { model: id, ...rest, seed, machines: [], cells: {} };
  if (!existsSync(fileOf(id))) return empty;
  const { machines, cells, ...known } = JSON.parse(readFileSync(fileOf(id), 'utf8')) as Results;
  const { machines: _, cells: __, ...wanted } = empty;
  return JSON.stringify(known) === JSON.stringify(wanted) ? { ...known, machines, cells } : empty;
}

export function addResult(results: Results, cell: Cell, record: Omit<Record, 'machine'> & Outcome, machine: Machine): Results {
  const same = results.machines.findIndex((one) => JSON.stringify(one) === JSON.stringify(machine));
  const machines = same < 0 ? [...results.machines, machine] : results.machines;
  const cells = { ...results.cells, [nameOf(cell)]: { ...record, machine: same < 0 ? results.machines.length : same } as Record };
  return { ...results, machines, cells };
}

export function writeResults(results: Results): void {
  mkdirSync(folder, { recursive: true });
  const { cells, ...head } = results;
  const lines = Object.entries(cells).map(([name, record]) => `    ${JSON.stringify(name)}: ${JSON.stringify(record)}`);
  const text = `${JSON.stringify(head, null, 2).replace(/\n\}$/, '')},\n  "cells": {\n${lines.join(',\n')}\n  }\n}\n`;
  const file = fileOf(results.model);
  const temporary = new URL(`${file.href}.writing`);
  writeFileSync(temporary, text);
  renameSync(temporary, file);
}
