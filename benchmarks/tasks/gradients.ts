/** Gradients as either engine computes them on the user's own path, and how far two sets of them are apart. */
import type { Subject } from '../models/subject.ts';
import { GradientRecorder } from './gradient-recorder.ts';
import type { Trainer } from './trainers.ts';

/** By name of the weight. */
export type Gradients = ReadonlyMap<string, Float32Array>;

export async function gradientsOf(subject: Subject, trainer: Trainer): Promise<Gradients> {
  const recorder = new GradientRecorder();
  await trainer.step(recorder);
  const names = new Map(subject.weights.map(({ name, variable }) => [variable.name, name]));
  return new Map([...recorder.gradients].map(([name, values]) => [names.get(name) as string, values]));
}

/** The largest difference of any gradient, in units of the largest. */
export function relativeDifference(expected: Gradients, got: Gradients): number {
  let difference = 0;
  let largest = 0;
  for (const [a, b] of pairs(expected, got)) {
    difference = Math.max(difference, Math.abs(a - b));
    largest = Math.max(largest, Math.abs(a));
  }
  return difference === 0 ? 0 : difference / largest;
}

/** The length of the difference of all gradients, in units of their length. */
export function relativeError(truth: Gradients, got: Gradients): number {
  let difference = 0;
  let length = 0;
  for (const [a, b] of pairs(truth, got)) {
    difference += (a - b) ** 2;
    length += a ** 2;
  }
  return Math.sqrt(difference / length);
}

function* pairs(expected: Gradients, got: Gradients): Generator<readonly [number, number]> {
  for (const [name, values] of expected) {
    const others = got.get(name);
    if (others?.length !== values.length) throw new Error(`[gradients] LeanTune gave no gradient of ${name}'s size.`);
    for (let i = 0; i < values.length; i++) yield [values[i] as number, others[i] as number];
  }
}
