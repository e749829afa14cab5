/**
 * Learning rates that change while training: plain functions from the number of steps taken so far (0 before the first one) to a
 * rate. Names and formulas follow optax; beyond its end a schedule holds its last value.
 *
 *   linear   from + (to - from) · t        t = min(step / steps, 1)
 *   cosine   end + (peak - end) · (1 + cos π t) / 2        Loshchilov & Hutter 2016, arXiv 1608.03983
 */
import type * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from './errors.ts';

/** The learning rate for the step that follows `step` finished ones. */
export type Schedule = (step: number) => number;

function check(who: string, rates: { [name: string]: number }, steps: { [name: string]: number } = {}): void {
  const faults = Object.entries(rates).flatMap(([name, x]) =>
    x >= 0 && x < Infinity ? [] : `${name} = ${x}; expected a finite rate >= 0`,
  );
  for (const [name, x] of Object.entries(steps))
    if (!(Number.isInteger(x) && x > 0)) faults.push(`${name} = ${x}; expected a whole number >= 1`);
  if (faults.length > 0) throw new FinetuneError('bad-option', who, `got ${faults.join(', ')}.`);
}

/** The same rate at every step. */
export function constant(rate: number): Schedule {
  check('constant', { rate });
  return () => rate;
}

/** From `from` to `to` in equal strides over `steps` steps. */
export function linear({ from, to, steps }: { from: number; to: number; steps: number }): Schedule {
  check('linear', { from, to }, { steps });
  return (step) => from + (to - from) * Math.min(step / steps, 1);
}

/** From `peak` to `end` (default 0) along half a cosine over `steps` steps. */
export function cosine({ peak, steps, end = 0 }: { peak: number; steps: number; end?: number }): Schedule {
  check('cosine', { peak, end }, { steps });
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
  check('warmup', {}, { steps });
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
  check('warmupCosine', {}, { warmupSteps, 'steps - warmupSteps': steps - warmupSteps });
  return warmup(warmupSteps, cosine({ ...rest, steps: steps - warmupSteps }));
}

/**
 * Sets the rate of any optimizer of tfjs or of this package, from its next step on.
 *
 * tfjs has no such method but for SGD and Momentum, which keep the rate in a tensor too; the others read a protected field at each step.
 */
export function setLearningRate(optimizer: tf.Optimizer, rate: number): void {
  check('setLearningRate', { rate });
  const open = optimizer as unknown as { learningRate?: unknown; setLearningRate?(rate: number): void };
  if (open.setLearningRate) open.setLearningRate(rate);
  else if (open.learningRate !== undefined) open.learningRate = rate;
  else
    throw new FinetuneError(
      'bad-option',
      'setLearningRate',
      `${optimizer.getClassName()} has no learningRate to set; use an optimizer of tf.train, or adamW.`,
    );
}
