/**
 * What training would keep, before training: one forward and backward on a batch, whose gradients are thrown away. Weights and
 * moving statistics stay as they are.
 */
import * as tf from '@tensorflow/tfjs-core';
import { aligned, unitFor } from '../memory/data.ts';
import { type KeptRow, type MemoryReport, measure } from '../memory/measure.ts';
import type { TunableModel } from '../models/read-model.ts';
import type { Technique } from '../technique.ts';
import { finetune } from './finetune.ts';
import type { FinetuneOptions } from './tuned.ts';

/** Options of {@link explain}. */
export interface ExplainOptions extends FinetuneOptions {
  /** Techniques to weigh, each by itself. @default none */
  readonly candidates?: readonly Technique[];
}

/** One place of a model, and what would wait there for backward. */
export interface ExplainedRow extends KeptRow {
  /** What the same layer and kernel would keep under each candidate, by technique name. */
  readonly under: { readonly [technique: string]: number };
}

/** What training would keep, as {@link explain} finds it. `String(explanation)` is a table. */
export interface Explanation {
  /** The most that waits for backward at once, in bytes, and the same under each candidate. */
  readonly keptBytes: number;
  readonly keptUnder: { readonly [technique: string]: number };
  readonly rows: readonly ExplainedRow[];
  readonly memory: MemoryReport;
  toString(): string;
}

type Outputs = tf.Tensor | tf.Tensor[] | tf.NamedTensorMap;
type Inputs = Outputs | (() => tf.Scalar);

/** Throws the gradients away. */
const discard: Technique = { name: 'explain', options: null, attach: () => ({ step: { onGradients: () => 'skip' }, detach: () => {} }) };

/**
 * Says what backward would keep, by layer and kernel, and which of `candidates` would shrink it.
 *
 * @param inputs a batch for `model`; for variables by name, the function that computes a scalar loss from them
 * @throws what `finetune` throws
 *
 * @example
 * console.log(String(explain(model, x, { candidates: [fourBit(), tuneMode()] })));
 */
export function explain(model: TunableModel, inputs: Inputs, options: ExplainOptions = {}): Explanation {
  const { candidates = [], ...rest } = options;
  const base = keptBy(model, inputs, [], rest);
  const others = candidates.map((candidate) => [candidate.name, keptBy(model, inputs, [candidate], rest)] as const);
  const bytesIn = (memory: MemoryReport, { layer, kernel }: KeptRow) =>
    memory.kept.find((row) => row.layer === layer && row.kernel === kernel)?.bytes ?? 0;
  const rows = base.kept.map(
    (row): ExplainedRow => ({ ...row, under: Object.fromEntries(others.map(([name, memory]) => [name, bytesIn(memory, row)])) }),
  );
  const keptUnder = Object.fromEntries(others.map(([name, memory]) => [name, memory.keptBytes]));
  return { keptBytes: base.keptBytes, keptUnder, rows, memory: base, toString: () => table(base.keptBytes, keptUnder, rows) };
}

function keptBy(model: TunableModel, inputs: Inputs, techniques: readonly Technique[], options: FinetuneOptions): MemoryReport {
  const tuned = finetune(model, [...techniques, discard], options);
  const optimizer = tf.train.sgd(1);
  try {
    return measure(() => tuned.minimize(() => lossOf(model, inputs), optimizer).dispose()).memory;
  } finally {
    tuned.dispose();
    optimizer.dispose();
  }
}

/** The sum of the means of all outputs: every output waits as it would under a loss. */
function lossOf(model: TunableModel, inputs: Inputs): tf.Scalar {
  if (typeof inputs === 'function') return inputs();
  const { apply, predict } = model as { readonly [method in 'apply' | 'predict']?: (x: Inputs, kwargs: object) => Outputs };
  const outputs = apply ? apply.call(model, inputs, { training: true }) : predict!.call(model, inputs, {});
  const list = outputs instanceof tf.Tensor ? [outputs] : Object.values(outputs);
  return tf.addN(list.map((y) => tf.mean(y))) as tf.Scalar;
}

function table(total: number, totals: Explanation['keptUnder'], rows: readonly ExplainedRow[]): string {
  const { name: unit, format } = unitFor(total);
  const names = Object.keys(totals);
  const line = (label: string, now: number, under: Explanation['keptUnder']) => [
    label,
    format(now),
    ...names.map((name) => format(under[name]!)),
  ];
  return aligned([
    [
      [`kept for backward, ${unit}`, 'now', ...names],
      ...rows.slice(0, 20).map(({ layer, kernel, bytes, under }) => line(`${layer} ${kernel}`.trim(), bytes, under)),
      ...(rows.length > 20 ? [[`${rows.length - 20} more`]] : []),
      line('at most at once', total, totals),
    ],
  ]).join();
}
