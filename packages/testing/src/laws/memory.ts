/** What a technique costs and saves in memory: laws 7 and 8. */
import { finetune, type MemoryReport, measure, type Tuned } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { expect } from 'vitest';
import type { TinyModel } from '../models/index.ts';
import { tune } from '../snapshot.ts';
import type { Law, Subject } from '../subject.ts';

/** 7 Tensors, buffers and bytes are the same after one step and after ten, and after the end as before the beginning. */
export const nothingLeaks: Law = async (subject, make) => {
  const tiny = await make();
  tf.dispose(tiny.predict());
  const counts = (): string => {
    const { numTensors, numDataBuffers, numBytes } = tf.memory();
    return `${numTensors} tensors, ${numDataBuffers} buffers, ${numBytes} bytes`;
  };
  const start = counts();
  for (const end of ['dispose', 'detach'] as const) {
    const tuned = tune(subject, tiny);
    const optimizer = tuned.optimizer(tf.train.adam(1e-3));
    const step = (): void => tuned.minimize(() => tiny.loss(), optimizer).dispose();
    step();
    const once = counts();
    for (let i = 1; i < 10; i++) step();
    expect(counts(), 'after ten steps').toBe(once);
    tf.dispose(tiny.predict());
    expect(counts(), 'after predict').toBe(once);
    optimizer.dispose();
    tuned[end]();
    expect(counts(), `after ${end}`).toBe(start);
  }
  tiny.dispose();
};

/** 8 The peak lies below the tape's alone by the stated factor, and kept bytes equal the formula, to the byte. */
export const savesWhatItSays = async (subject: Subject): Promise<void> => {
  const saving = subject.saves;
  if (!saving) return;
  const tiny = await saving.model();
  const tuned = tune(subject, tiny);
  const own = tuned.variables.filter((v) => Object.values(tiny.weights()).includes(v)).map((v) => v.name);
  const technique = memoryOf(tiny, tuned);
  tuned.dispose();
  const plain = finetune(
    tiny.model as never,
    [],
    own.length > 0 && subject.trainable !== undefined ? { trainable: subject.trainable } : {},
  );
  const baseline = memoryOf(tiny, plain);
  plain.dispose();
  tiny.dispose();
  const share = technique.peakAboveWeights / baseline.peakAboveWeights;
  expect(
    share,
    `peak ${technique.peakAboveWeights} of ${baseline.peakAboveWeights} bytes: ${saving.because}\n${technique}`,
  ).toBeLessThanOrEqual(saving.peak);
  expect(technique.keptBytes, `kept bytes: ${saving.because}\n${technique}`).toBe(saving.kept);
};

function memoryOf(tiny: TinyModel, tuned: Tuned): MemoryReport {
  const run = (): void => {
    const { value, grads } = tuned.valueAndGrads(() => tiny.loss());
    tf.dispose([value, grads]);
  };
  run();
  return measure(run, { model: tiny.model as object }).memory;
}
