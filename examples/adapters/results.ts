/** What the runs reached: `results/<task>.json`; the tables of the documents are made of them. */
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';

/** Of all runs in a file. */
export interface Settings {
  readonly task: string;
  readonly backend: string;
  readonly rank: number;
  /** η of LaMDA. */
  readonly freezeFraction: number;
  readonly steps: number;
  readonly batch: number;
  readonly tokens: number;
  readonly train: number;
  /** What learning rates are chosen by. */
  readonly validation: number;
  /** What the runs are judged by, at their end. */
  readonly test: number;
}

/** A run to choose a learning rate by. */
export interface Trial {
  readonly method: string;
  /** The highest learning rate. */
  readonly rate: number;
  /** On the validation set. */
  readonly loss: number;
}

export interface Run {
  readonly method: string;
  readonly seed: number;
  readonly rate: number;
  /** On the test set. */
  readonly loss: number;
  /** On the test set before, with the same seed. */
  readonly before: number;
  /** Numbers moved by the adapter over the run. */
  readonly updates: number;
  /** Bytes kept for backward at most. */
  readonly keptBytes: number;
  /** Text that the model writes afterwards. */
  readonly sample?: string;
}

export interface Results {
  readonly settings: Settings;
  readonly trials: readonly Trial[];
  readonly runs: readonly Run[];
}

const fileOf = (task: string): URL => new URL(`results/${task}.json`, import.meta.url);

/** What a task's file holds; undefined if it was made with other settings. */
export function readResults(settings: Settings): Results | undefined {
  const file = fileOf(settings.task);
  if (!existsSync(file)) return { settings, trials: [], runs: [] };
  const results = JSON.parse(readFileSync(file, 'utf8')) as Results;
  return JSON.stringify(results.settings) === JSON.stringify(settings) ? results : undefined;
}

export const differentSettings = ({ task }: Settings): Error =>
  new Error(`[results] ${task}.json was made with other settings. Delete it first.`);

/** Adds a trial, in place of an earlier one of the same method and rate. */
export function recordTrial(settings: Settings, trial: Trial): void {
  change(settings, ({ trials }) => ({
    trials: [...trials.filter(({ method, rate }) => method !== trial.method || rate !== trial.rate), trial],
  }));
}

/** Adds a run, in place of an earlier one of the same method and seed. */
export function recordRun(settings: Settings, run: Run): void {
  change(settings, ({ runs }) => ({ runs: [...runs.filter(({ method, seed }) => method !== run.method || seed !== run.seed), run] }));
}

function change(settings: Settings, part: (before: Results) => Partial<Results>): void {
  const before = readResults(settings);
  if (!before) throw differentSettings(settings);
  const file = fileOf(settings.task);
  mkdirSync(new URL('.', file), { recursive: true });
  const fresh = new URL(`${file.href}.tmp`);
  writeFileSync(fresh, `${JSON.stringify({ ...before, ...part(before) }, null, 2)}\n`);
  renameSync(fresh, file);
}
