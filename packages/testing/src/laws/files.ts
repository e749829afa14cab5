/** What a technique leaves on disk and in the base weights: laws 9 to 11. */
import { FinetuneError, finetune, restore } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import { memoryFile } from '../memory-file.ts';
import { type TinyLayersModel, tinyModels } from '../models/index.ts';
import { nudge, outputsOf, type Snapshot, snapshot, tune, withTuned } from '../snapshot.ts';
import type { Bound, Law } from '../subject.ts';

/** 9 Saved, and restored on a new copy of the base, it gives equal outputs; its options survive JSON. */
export const savesAndRestores: Law = (subject, make) =>
  withTuned(subject, make, async ({ tiny, tuned }) => {
    nudge(tuned.variables, 9);
    const file = memoryFile();
    await tuned.save(file);
    const copy = await make();
    try {
      const restored = await restore(copy.model as never, file, subject.factories);
      expectClose(outputsOf(copy), outputsOf(tiny));
      expect(restored.summary().trainable).toBe(tuned.summary().trainable);
      expect(optionsOf(await fileOf(restored)), 'options').toEqual(optionsOf(file));
      restored.dispose();
    } finally {
      copy.dispose();
    }
  });

/** 10 A file of another base or cut short is refused, and changes nothing. */
export const refusesForeignFiles: Law = (subject, make) =>
  withTuned(subject, make, async ({ tiny, tuned }) => {
    const file = memoryFile();
    await tuned.save(file);
    const [own, weights] = [tuned.variables.map((v) => Float32Array.from(v.dataSync())), snapshot(tiny.weights())];
    const expectRefused = async (reason: string): Promise<void> => {
      const error = await tuned.load(file).catch((e: unknown) => e);
      expect(FinetuneError.is(error) && error.code, reason).toBe('bad-file');
      expect(
        tuned.variables.map((v) => Float32Array.from(v.dataSync())),
        reason,
      ).toEqual(own);
      expect(snapshot(tiny.weights()), reason).toEqual(weights);
    };
    const whole = await file.load();
    file.artifacts = { ...whole, weightData: (whole.weightData as ArrayBuffer).slice(0, -4) };
    await expectRefused('a file cut short');
    const other = Object.keys(tinyModels).find((name) => name !== tiny.name && !subject.refuses?.[name])!;
    await withTuned(subject, tinyModels[other]!, async (foreign) => void (await foreign.tuned.save(file)));
    await expectRefused(`the file of ${other}`);
  });

/** 11 Merging keeps the outputs, ends the tuning, and leaves a model that saves and loads as any other. */
export const merges: Law = async (subject, make) => {
  const tiny = await make();
  const tuned = tune(subject, tiny);
  nudge(tuned.variables, 11);
  const before = outputsOf(tiny);
  try {
    tuned.merge();
  } catch (error) {
    expect(FinetuneError.is(error) && error.code, 'what merge threw').toBe('no-merge');
    expect(outputsOf(tiny), 'outputs after a merge that was refused').toEqual(before);
    tuned.dispose();
    tiny.dispose();
    return;
  }
  expectClose(outputsOf(tiny), before, subject.merge ?? { rel: 1e-5, because: 'merging claims to change nothing but rounding' });
  const merged = outputsOf(tiny);
  finetune(tiny.model as never).dispose();
  expect(outputsOf(tiny), 'outputs after another tuning').toEqual(merged);
  if (tiny.kind === 'layers') await expectOrdinary(tiny as TinyLayersModel, merged);
  tiny.dispose();
};

async function expectOrdinary(tiny: TinyLayersModel, outputs: Snapshot): Promise<void> {
  const file = memoryFile();
  await tiny.model.save(file);
  const loaded = await tf.loadLayersModel(file);
  const again = [loaded.predict([...tiny.x])].flat();
  expect(Object.values(snapshot(Object.fromEntries(again.entries()))), 'outputs of the merged model, saved and loaded').toEqual(
    Object.values(outputs),
  );
  const weights = loaded.weights.map((w) => w.read());
  loaded.dispose();
  tf.dispose([again, weights]);
}

function expectClose(received: Snapshot, expected: Snapshot, closeness: Bound = { rel: 0, because: 'the tensors are the same' }): void {
  for (const name in expected) expect(received[name], name).toBeClose(expected[name]!, closeness);
}

async function fileOf(tuned: { save(to: tf.io.IOHandler): Promise<unknown> }): Promise<ReturnType<typeof memoryFile>> {
  const file = memoryFile();
  await tuned.save(file);
  return file;
}

function optionsOf(file: ReturnType<typeof memoryFile>): unknown {
  return (file.artifacts?.userDefinedMetadata as { techniques?: unknown } | undefined)?.techniques;
}
