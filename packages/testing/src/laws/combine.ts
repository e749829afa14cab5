/** How a technique lives with others, and with other backends: laws 14 and 16. */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import { nudge, outputsOf, type Snapshot, steps, tune, withTuned } from '../snapshot.ts';
import type { Bound, Law, Make, Subject } from '../subject.ts';
import { nothingLeaks } from './memory.ts';
import { attachKeepsOutputs, detachRestores, onlyVariablesMove } from './model.ts';

/** 14 Two techniques on one model, in both orders, keep laws 1, 2, 3 and 7; or refuse each other with the stated error. */
export async function composes(name: string, subject: Subject, otherName: string, other: Subject, make: Make): Promise<void> {
  const code = subject.conflicts?.[otherName] ?? other.conflicts?.[name];
  for (const both of [pair(subject, other), pair(other, subject)]) {
    if (code === undefined) for (const law of [attachKeepsOutputs, detachRestores, onlyVariablesMove, nothingLeaks]) await law(both, make);
    else await refuses(both, make, code);
  }
}

/** The technique answers a model it cannot serve with an error, and leaves it as it was. */
export async function refuses(subject: Subject, make: Make, code: string): Promise<void> {
  const tiny = await make();
  const [before, { numTensors }] = [outputsOf(tiny), tf.memory()];
  let error: unknown;
  try {
    tune(subject, tiny).dispose();
  } catch (e) {
    error = e;
  }
  expect(FinetuneError.is(error) && error.code, `the error of finetune on ${tiny.name}`).toBe(code);
  expect(outputsOf(tiny)).toEqual(before);
  expect(tf.memory().numTensors, 'tensors after the refusal').toBe(numTensors);
  tiny.dispose();
}

function pair(a: Subject, b: Subject): Subject {
  const trainable = a.trainable ?? b.trainable;
  const bounds = [a.forward, b.forward].filter((bound): bound is Bound => bound !== undefined);
  const forward = {
    rel: sum(bounds.map((x) => x.rel ?? 0)),
    abs: sum(bounds.map((x) => x.abs ?? 0)),
    because: bounds.map((x) => x.because).join('; '),
  };
  return {
    make: () => [a.make(), b.make()].flat(),
    factories: { ...a.factories, ...b.factories },
    ...(bounds.length > 0 && { forward }),
    ...(trainable !== undefined && { trainable }),
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** 16 Outputs and losses of three steps on `backend` are those of cpu. */
export const sameOnBackend =
  (backend: string): Law =>
  async (subject, make) => {
    const expected = await run('cpu', subject, make);
    const received = await run(backend, subject, make);
    for (const name in expected) {
      expect(received[name], `${name} on ${backend}`).toBeClose(
        expected[name]!,
        subject.backends ?? { rel: 1e-4, because: 'backends sum in another order' },
      );
    }
  };

async function run(backend: string, subject: Subject, make: Make): Promise<Snapshot> {
  const before = tf.getBackend();
  await tf.setBackend(backend);
  try {
    const results: { [name: string]: Float32Array } = {};
    await withTuned(subject, make, (both) => {
      nudge(both.tuned.variables, 16);
      results['losses'] = Float32Array.from(steps(both, 3));
      Object.assign(results, outputsOf(both.tiny));
    });
    return results;
  } finally {
    await tf.setBackend(before);
  }
}
