/**
 * One run under the meters. Nothing here waits for a sensor while the run goes on: readings are taken at its edges, and awaited when it
 * has ended.
 */
import type { Meter } from './source.ts';

/** What the measured code may say to the meters. */
export interface Run {
  /** 0 for the first run that counts; below 0 while warming up. */
  readonly repeat: number;
  /** Runs `f` off the meters: to build a model, or to evaluate it. */
  unmetered<T>(f: () => T | Promise<T>): Promise<T>;
  /** The accuracy so far, found off the meters; with it the energy *to reach* an accuracy is known. Returns it. */
  accuracy(evaluate: () => number | Promise<number>): Promise<number>;
}

/** The measured code. It must wait for what it starts: on a GPU, read a value of the last step. */
export type Workload = (run: Run) => unknown;

/** Gross joules of each meter. */
export type Joules = readonly number[];

export interface Metered {
  readonly seconds: number;
  readonly joules: Joules;
  readonly accuracies: readonly { readonly accuracy: number; readonly seconds: number; readonly joules: Joules }[];
}

interface Reading {
  readonly at: number;
  readonly joules: readonly Promise<number>[];
}

/** Runs `calls` times; times and energies are those between its readings. */
export async function meteredRun(meters: readonly Meter[], repeat: number, calls: number, workload: Workload): Promise<Metered> {
  const read = (): Reading => {
    const joules = meters.map((meter) => meter.read());
    for (const promise of joules) promise.catch(() => undefined); // said when it is awaited
    return { at: performance.now(), joules };
  };
  const segments: { from: Reading; to: Reading }[] = [];
  const marks: { accuracy: number; segments: number }[] = [];
  let from: Reading;
  const unmetered = async <T>(f: () => T | Promise<T>): Promise<T> => {
    segments.push({ from, to: read() });
    try {
      return await f();
    } finally {
      from = read();
    }
  };
  const run: Run = {
    repeat,
    unmetered,
    async accuracy(evaluate) {
      const accuracy = await unmetered(evaluate);
      marks.push({ accuracy, segments: segments.length });
      return accuracy;
    },
  };
  from = read();
  for (let call = 0; call < calls; call++) await workload(run);
  segments.push({ from, to: read() });

  const parts = await Promise.all(segments.map(spent));
  const upTo = (count: number): Omit<Metered, 'accuracies'> => ({
    seconds: parts.slice(0, count).reduce((sum, { seconds }) => sum + seconds, 0),
    joules: meters.map((_, i) => parts.slice(0, count).reduce((sum, { joules }) => sum + joules[i]!, 0)),
  });
  return { ...upTo(parts.length), accuracies: marks.map(({ accuracy, segments: count }) => ({ accuracy, ...upTo(count) })) };
}

async function spent({ from, to }: { from: Reading; to: Reading }): Promise<{ seconds: number; joules: number[] }> {
  const [before, after] = await Promise.all([Promise.all(from.joules), Promise.all(to.joules)]);
  return { seconds: (to.at - from.at) / 1000, joules: after.map((joules, i) => joules - before[i]!) };
}
