/**
 * Learning rates that change while training: plain functions from the number of steps taken so far (0 before the first one) to a
 * rate. Names and formulas follow optax; beyond its end a schedule holds its last value.
 *
 *   linear   from + (to - from) · t        t = min(step / steps, 1)
 *   cosine   end + (peak - end) · (1 + cos π t) / 2        Loshchilov & Hutter 2016, arXiv 1608.03983
 */
import type * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { checkRanges, count, rate } from './ranges.ts';

/** The learning rate for the step that follows `step` finished ones. */
export type Schedule = (step: number) => number;

/** The same rate at every step. */
export function constant(value: number): Schedule {
  checkRanges('constant', [rate, { rate: value }]);
  return () => value;
}

/** From `from` to `to` in equal strides over `steps` steps. */
export function linear({ from, to, steps }: { from: number; to: number; steps: number }): Schedule {
  checkRanges('linear', [rate, { from, to }], [count, { steps }]);
  return (step) => from + (to - from) * Math.min(step / steps, 1);
}

/** From `peak` to `end` (default 0) along half a cosine over `steps` steps. */
export function cosine({ peak, steps, end = 0 }: { peak: number; steps: number; end?: number }): Schedule {
  checkRanges('cosine', [rate, { peak, end }], [count, { steps }]);
  return (step) => end + ((peak - end) * (1 + Math.cos(Math.PI * Math.min(step / steps, 1)))) / 2;
}

/** `schedules[i]` counts its steps from `boundaries[i - 1]` on: one boundary fewer than schedules, rising. */
export function join(schedules: readonly Schedule[], boundaries: readonly number[]): Schedule {
  const rising = boundaries.every((b, i) => Number.isInteger(b) && b > (boundaries[i - 1] ?? 0));
  if (schedules.length !== boundaries.length + 1 || !rising)
    throw new FinetuneError(
      'bad-option',
      'join',
      `got ${schedules.length} schedules and boundaries [${boundaries}]; expected one boundary fewer than schedules, whole and rising from 1.`,
    );
  return (step) => {
    const i = boundaries.filter((b) => step >= b).length;
    return schedules[i]!(step - (boundaries[i - 1] ?? 0));
  };
}

/** From 0 to what `then` starts with over `steps` steps, then `then`. The first step has rate 0. */
export function warmup(steps: number, then: Schedule): Schedule {
  checkRanges('warmup', [count, { steps }]);
  return join([linear({ from: 0, to: then(0), steps }), then], [steps]);
}

/** {@link warmup} to `peak`, then {@link cosine} to `end` (default 0): `steps` in total, `warmupSteps` of them rising. */
export function warmupCosine({
  warmupSteps,
  steps,
  ...rest
}: {
  peak: number;
  warmupSteps: number;
  steps: number;
  end?: number;
}): Schedule {
  checkRanges('warmupCosine', [count, { warmupSteps, 'steps - warmupSteps': steps - warmupSteps }]);
  return warmup(warmupSteps, cosine({ ...rest, steps: steps - warmupSteps }));
}

/**
 * Sets the rate of any optimizer of tfjs or of this package, from its next step on.
 *
 * tfjs has no such method but for SGD and Momentum, which keep the rate in a tensor too; the others read a protected field at each step.
 */
export function setLearningRate(optimizer: tf.Optimizer, value: number): void {
  checkRanges('setLearningRate', [rate, { rate: value }]);
  const open = optimizer as unknown as { learningRate?: unknown; setLearningRate?(rate: number): void };
  if (open.setLearningRate) open.setLearningRate(value);
  else if (open.learningRate !== undefined) open.learningRate = value;
  else
    throw new FinetuneError(
      'bad-option',
      'setLearningRate',
      `${optimizer.getClassName()} has no learningRate to set; use an optimizer of tf.train, or adamW.`,
    );
}
