/** What a technique may do to the model it is attached to: laws 1 to 3. */
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import { outputsOf, type Snapshot, snapshot, steps, tune, withTuned } from '../snapshot.ts';
import type { Law } from '../subject.ts';

/** 1 Attaching changes no output, or by the stated amount. */
export const attachKeepsOutputs: Law = async (subject, make) => {
  const tiny = await make();
  const before = outputsOf(tiny);
  const tuned = tune(subject, tiny);
  const after = outputsOf(tiny);
  tuned.dispose();
  tiny.dispose();
  for (const name in before)
    expect(after[name]).toBeClose(before[name]!, subject.forward ?? { rel: 0, because: 'attaching claims to change nothing' });
};

/** 2 Detaching restores weights and outputs bit for bit, twice over; what trained of the model's own stays. */
export const detachRestores: Law = async (subject, make) => {
  const tiny = await make();
  const [weights, outputs, { numTensors }] = [snapshot(tiny.weights()), outputsOf(tiny), tf.memory()];
  for (const _ of [1, 2]) {
    tune(subject, tiny).detach();
    expectEqual(snapshot(tiny.weights()), weights);
    expectEqual(outputsOf(tiny), outputs);
    expect(tf.memory().numTensors, 'tensors after detach').toBe(numTensors);
  }
  const tuned = tune(subject, tiny);
  const own = ownNames(tiny.weights(), tuned.variables);
  steps({ tiny, tuned }, 1);
  tuned.detach();
  expectEqual(without(snapshot(tiny.weights()), own), without(weights, own));
  if (own.length === 0) expectEqual(outputsOf(tiny), outputs);
  tiny.dispose();
};

/** 3 Only `variables` move in five steps; everything else is bit-identical. */
export const onlyVariablesMove: Law = (subject, make) =>
  withTuned(subject, make, ({ tiny, tuned }) => {
    const own = ownNames(tiny.weights(), tuned.variables);
    const before = without(snapshot(tiny.weights()), own);
    const trained = (): Float32Array[] => tuned.variables.map((v) => Float32Array.from(v.dataSync()));
    const start = trained();
    steps({ tiny, tuned }, 5);
    expectEqual(without(snapshot(tiny.weights()), own), before);
    expect(trained(), 'the variables after five steps').not.toEqual(start);
  });

/** What of the model's own may move: what trains, and the moving statistics beside it. */
function ownNames(weights: { readonly [name: string]: tf.Tensor }, variables: readonly tf.Variable[]): string[] {
  const layerOf = (name: string): string => name.slice(0, name.lastIndexOf('/'));
  const trained = Object.keys(weights).filter((name) => variables.includes(weights[name] as tf.Variable));
  const moving = Object.keys(weights).filter((name) => /\/moving_/.test(name) && trained.some((own) => layerOf(own) === layerOf(name)));
  return [...trained, ...moving];
}

function without(values: Snapshot, names: readonly string[]): Snapshot {
  return Object.fromEntries(Object.entries(values).filter(([name]) => !names.includes(name)));
}

function expectEqual(received: Snapshot, expected: Snapshot): void {
  expect(Object.keys(received)).toEqual(Object.keys(expected));
  for (const name in expected) expect(received[name], name).toEqual(expected[name]);
}
