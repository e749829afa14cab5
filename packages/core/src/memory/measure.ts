/**
 * Where memory goes while a model trains, to the byte.
 *
 *   peak = weights + optimizer + kept for backward + gradients + transient
 *
 * Every buffer counts once, from the kernel that makes it to the last handle disposed. `tf.memory().numBytes` counts handles: a
 * buffer seen through clone and reshape three times over. Works on stock tfjs too, so that both can be held side by side.
 *
 * Not seen: memory a kernel uses inside itself, and buffers older than the tracker that are neither variables nor named in its
 * options (the data set that waits outside, say): they cost the measured code nothing.
 */
import * as tf from '@tensorflow/tfjs-core';
import { listen, slotsOf, unlisten } from './hooks.ts';
import { Ledger } from './ledger.ts';
import { probes, roles } from './probe.ts';
import { type MemoryReport, memoryReport } from './report.ts';

export type { KeptRow, MemoryByCategory, MemoryCategory, MemoryData, MemoryPoint } from './data.ts';
export type { HtmlOptions } from './html.ts';
export type { MemoryReport } from './report.ts';

/** Options of {@link measure} and {@link trackMemory}. */
export interface TrackOptions {
  /** Its constants (GraphModel) count as weights, its compiled optimizer's slots as optimizer. All variables are known without it. */
  readonly model?: object;
  /** Tensors that count as weights although they are no variables. */
  readonly weights?: Iterable<tf.Tensor>;
  /** Its slots, made before tracking began, count as optimizer from the start; without it, from its next step, unless `tuned.optimizer` has stepped it. */
  readonly optimizer?: tf.Optimizer;
}

/** Counts memory until it is stopped. */
export interface Tracker extends Disposable {
  /** What was seen so far. */
  report(): MemoryReport;
  /** Ends tracking; the report stays. The engine is as before once all trackers have stopped, in any order. */
  stop(): void;
  /** For `model.fit`'s `callbacks`: writes each epoch's peak in bytes into its logs and history, as `peakBytes`. */
  callback(): { onEpochBegin(): void; onEpochEnd(epoch: number, logs?: { [name: string]: unknown }): void };
}

/** What {@link measure} gives back. */
export interface Measured<T> {
  readonly result: T;
  readonly memory: MemoryReport;
}

/**
 * Counts memory from now until `stop` or the end of a `using` block.
 *
 * @example
 * using tracker = trackMemory();
 * await model.fit(x, y, { epochs: 3, callbacks: [tracker.callback()] });
 * console.log(String(tracker.report()));
 */
export function trackMemory(options: TrackOptions = {}): Tracker {
  const ledger = new Ledger();
  const { weights = {}, optimizer } = (options.model ?? {}) as { weights?: object; optimizer?: object };
  ledger.label(
    [optimizer, options.optimizer].flatMap((o) => (o ? slotsOf(o) : [])),
    'optimizer',
  );
  for (const v of Object.values(tf.engine().registeredVariables)) ledger.label([v], roles.get(v) ?? 'weights');
  ledger.label(options.weights ?? [], 'weights');
  ledger.label(
    Object.values(weights)
      .flat()
      .filter((w) => w instanceof tf.Tensor),
    'weights',
  );
  listen(ledger);
  probes.add(ledger);
  let ended: MemoryReport | undefined;
  const stop = () => {
    ended ??= memoryReport(ledger.data());
    unlisten(ledger);
    probes.delete(ledger);
  };
  return {
    report: () => ended ?? memoryReport(ledger.data()),
    stop,
    callback: () => ({
      onEpochBegin: () => void ledger.lap(),
      onEpochEnd: (_, logs = {}) => {
        logs['peakBytes'] = ledger.lap();
      },
    }),
    [Symbol.dispose]: stop,
  };
}

/**
 * Runs `f` and says what memory it took. An `f` that returns a promise gives a promise. Errors of `f` pass through; tracking ends; one with
 * the code 'out-of-memory' says in its message what the peak was made of.
 *
 * @example
 * const { result, memory } = await measure(() => model.fit(x, y));
 * memory.peakBytes;         // buffers, not handles
 * memory.atPeak;            // { weights, optimizer, kept, gradients, transient }: they sum to the peak
 * console.log(String(memory));
 */
export function measure<T>(f: () => Promise<T>, options?: TrackOptions): Promise<Measured<T>>;
export function measure<T>(f: () => T, options?: TrackOptions): Measured<T>;
export function measure<T>(f: () => T | Promise<T>, options?: TrackOptions): Measured<T> | Promise<Measured<T>> {
  const tracker = trackMemory(options);
  const done = (result: T): Measured<T> => {
    tracker.stop();
    return { result, memory: tracker.report() };
  };
  const failed = (error: unknown): never => {
    tracker.stop();
    if ((error as { code?: unknown } | null)?.code === 'out-of-memory') (error as Error).message += `\n\n${tracker.report()}`;
    throw error;
  };
  try {
    const result = f();
    return result instanceof Promise ? result.then(done, failed) : done(result);
  } catch (error) {
    return failed(error);
  }
}
