/** What the runs reached: `results/<task>.json`, one entry a method and seed; the tables of the documents are made of them. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';

/** Of all runs in a file. */
export interface Settings {
  readonly task: string;
  readonly backend: string;
  readonly steps: number;
  readonly batch: number;
  readonly tokens: number;
  readonly train: number;
  readonly test: number;
  /** Validation loss of the base, where it has one. */
  readonly before?: number;
}

export interface Run {
  readonly method: string;
  readonly seed: number;
  /** The highest learning rate. */
  readonly rate: number;
  /** Validation loss. */
  readonly loss: number;
  /** Numbers moved by the adapter over the run. */
  readonly updates: number;
  /** Bytes kept for backward at most. */
  readonly keptBytes: number;
  /** Text that the model writes afterwards. */
  readonly sample?: string;
}

export interface Results {
  readonly settings: Settings;
  readonly runs: readonly Run[];
}

/** Adds a run to the file of its task, in place of an earlier one of the same method and seed. */
export function record(settings: Settings, run: Run): void {
  const folder = new URL('results/', import.meta.url);
  const file = new URL(`${settings.task}.json`, folder);
  mkdirSync(folder, { recursive: true });
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Results) : { settings, runs: [] };
  if (JSON.stringify(before.settings) !== JSON.stringify(settings))
    throw new Error(`[results] ${settings.task}.json was made with other settings. Delete it first.`);
  const others = before.runs.filter(({ method, seed }) => method !== run.method || seed !== run.seed);
  writeFileSync(file, `${JSON.stringify({ settings, runs: [...others, run] }, null, 2)}\n`);
}
