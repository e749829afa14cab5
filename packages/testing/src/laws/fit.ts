/** `model.fit` stays tfjs's own: law 13. */
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import type { TinyLayersModel } from '../models/index.ts';
import { tune } from '../snapshot.ts';
import type { Law, Make, Subject } from '../subject.ts';

/** 13 `fit` runs with metrics, validation and callbacks; `predict` inside a callback does not disturb training; nothing leaks. */
export const fitsAsUsual: Law = async (subject, make) => {
  const quiet = await fit(subject, make, () => {});
  const busy = await fit(subject, make, (tiny) => tf.dispose(tiny.model.predict([...tiny.x])));
  expect(busy, 'losses with predict in a callback').toEqual(quiet);
  expect(Object.values(quiet).flat().every(Number.isFinite), 'finite losses').toBe(true);
  expect(Object.keys(quiet)).toEqual(expect.arrayContaining(['loss', 'val_loss']));
};

async function fit(subject: Subject, make: Make, onBatch: (tiny: TinyLayersModel) => void): Promise<tf.History['history']> {
  const tiny = (await make()) as TinyLayersModel;
  const tuned = tune(subject, tiny);
  tiny.model.compile({ optimizer: tuned.optimizer(tf.train.sgd(0.02)), loss: tiny.compileLoss, metrics: ['accuracy', 'mse'] });
  const [x, y] = [[...tiny.x], [...tiny.y]];
  const counts: number[] = [];
  const callbacks = { onBatchEnd: () => onBatch(tiny), onEpochEnd: () => void counts.push(tf.memory().numTensors) };
  const { history } = await tiny.model.fit(x, y, {
    epochs: 4,
    batchSize: 2,
    shuffle: false,
    validationData: [x, y],
    verbose: 0,
    callbacks,
  });
  expect(counts[3], 'tensors after the fourth epoch, next to the third').toBe(counts[2]);
  tuned.dispose();
  tiny.dispose();
  return Object.fromEntries(Object.entries(history).map(([name, values]) => [name, values.map(Number)]));
}
