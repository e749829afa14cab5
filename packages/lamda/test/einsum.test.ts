/** LaMDA on Einsum nodes. */
import { finetune } from '@leantune/core';
import { adaptersOf } from '@leantune/core/low-rank';
import { einsumGraph } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { lamda } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const close = { rel: 1e-5, because: 'sums in another order' };

test.each([
  ['zero', 0.3],
  ['principal', 0],
] as const)(
  "begun as '%s', with B in training for %d of the run, it learns, and is the same beside the kernel and folded into it",
  async (init, freezeFraction) => {
    const tiny = await einsumGraph();
    const predict = () => tiny.predict()[0]!;
    const base = predict();
    const tuned = finetune(tiny.model, lamda({ rank: 2, init, freezeFraction, steps: 20 }));
    const adapters = adaptersOf(tiny.model);
    expect(adapters.sites('default').map(({ kernelShape }) => kernelShape)).toEqual([
      [6, 6],
      [2, 3, 3],
    ]);
    expect(predict()).toBeClose(base, close);
    const optimizer = tuned.optimizer(tf.train.adam(0.05));
    const before = tiny.loss().dataSync()[0]!;
    for (let i = 0; i < 20; i++) tuned.minimize(tiny.loss, optimizer).dispose();
    expect(tiny.loss().dataSync()[0]).toBeLessThan(0.95 * before);
    const beside = predict();
    adapters.merge();
    expect(predict()).toBeClose(beside, close);
    adapters.unmerge();
    expect(predict()).toBeBitEqual(beside);
    tuned.merge();
    expect(predict()).toBeClose(beside, close);
    tiny.dispose();
  },
);
