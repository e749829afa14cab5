/** What a technique claims about gradients: laws 4 to 6. */
import { gradcheck } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import type { TinyModel } from '../models/index.ts';
import { nudge, steps, type TunedTiny, withTuned } from '../snapshot.ts';
import type { Bound, Law, Subject } from '../subject.ts';

const SEEDS = [1, 2, 3];

/** 4 Loss and gradients are those of stock tfjs for the same forward, or within the stated bound, on three seeds. */
export const gradientsEqualStock: Law = async (subject, make) => {
  for (const seed of SEEDS) {
    await withTuned(
      subject,
      make,
      (both) => {
        nudge(both.tuned.variables, seed);
        const [ours, stock] = tf.tidy(() => [flatten(gradientsOf(both)), stockGradients(both)]);
        if (!stock) return;
        expect(Object.keys(ours)).toEqual(Object.keys(stock));
        const largest = Math.max(...Object.entries(stock).flatMap(([name, v]) => (name === 'loss' ? [] : [...v].map(Math.abs))));
        const { rel = 1e-6, abs = 0, because = 'it claims exact gradients' } = boundOf(subject, both.tiny) ?? {};
        for (const name in stock)
          expect(ours[name], `${name}, seed ${seed}`).toBeClose(stock[name]!, { rel, abs: abs + rel * 0.01 * largest, because });
      },
      seed,
    );
  }
};

/** 5 Finite differences agree, to what float32 gives and the stated bound. */
export const gradientsAgreeWithDifferences: Law = (subject, make) =>
  withTuned(subject, make, async (both) => {
    nudge(both.tuned.variables, 1);
    const { value, grads } = gradientsOf(both);
    const analytic = both.tuned.variables.map((v) => grads[v.name]!);
    // Small steps, as the models have kinks; so float32 leaves 3 %.
    const { rel = 0, abs = 0 } = boundOf(subject, both.tiny) ?? {};
    const tolerance = 0.03 + 2 * rel + abs;
    await gradcheck(() => both.tiny.loss(), both.tuned.variables, {
      analytic,
      tolerance,
      mode: 'directions',
      epsilon: 0.005,
      assert: true,
    });
    tf.dispose([value, analytic]);
  });

/** 6 The loss falls. */
export const lossFalls: Law = (subject, make) =>
  withTuned(subject, make, (both) => {
    const { steps: count = 30, rate = 0.02, to = 0.9 } = subject.learns ?? {};
    const losses = steps(both, count, tf.train.adam(rate));
    expect(losses.at(-1)! / losses[0]!, `loss after ${count} steps, relative to the first`).toBeLessThan(to);
  });

const boundOf = ({ gradients, gradientsOn }: Subject, { name }: TinyModel): Bound | undefined => gradientsOn?.[name] ?? gradients;

function gradientsOf({ tiny, tuned }: TunedTiny): { value: tf.Scalar; grads: tf.NamedTensorMap } {
  return tuned.valueAndGrads(() => tiny.loss());
}

/** Undefined where tfjs cannot: it has no gradient for the fused kernels of a GraphModel. Then law 5 alone tells. */
function stockGradients({ tiny, tuned }: TunedTiny): { [name: string]: Float32Array } | undefined {
  try {
    return flatten(tf.variableGrads(() => tiny.loss(), [...tuned.variables]));
  } catch (error) {
    if (tiny.kind === 'graph' && /gradient function not found for _?Fused/.test(String(error))) return undefined;
    throw error;
  }
}

function flatten({ value, grads }: { value: tf.Tensor; grads: tf.NamedTensorMap }): { [name: string]: Float32Array } {
  const named = Object.keys(grads)
    .sort()
    .map((name) => [name, grads[name]!] as const);
  return Object.fromEntries([['loss', value] as const, ...named].map(([name, t]) => [name, Float32Array.from(t.dataSync())]));
}
