import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import * as tf from '@tensorflow/tfjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bound, fuzz, loaders } from '../reliability/fuzz.ts';
import { killWhileSaving } from '../reliability/kill.ts';
import { quarter, soak } from '../reliability/soak.ts';

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'reliability-'));
});
afterAll(() => rm(folder, { recursive: true }));

describe('2,000 corrupted files are refused by an error of ours, or load as they are, in the memory of their size', () => {
  test.each(loaders.map(([share, make], i) => [i, share, make] as const))('loader %i', async (i, share, make) => {
    await useBackend('cpu');
    const loader = await make(folder);
    const { faults, refused, loaded, largestBuffer, fileBytes } = await fuzz(loader, 2000 * share, 77 + i);
    expect(faults, loader.name).toEqual([]);
    expect(refused + loaded).toBe(2000 * share);
    expect(refused).toBeGreaterThan(200 * share); // corruption does not pass unseen
    expect(largestBuffer).toBeLessThanOrEqual(bound(fileBytes));
  });
});

test('an adapter that is being saved when its process is killed is a whole old one or a whole new one', async () => {
  const { faults, old, fresh } = await killWhileSaving(10, 3);
  expect(faults).toEqual([]);
  expect(old + fresh).toBe(10);
});

test.each(['cpu', 'wasm'] as const)('200 batches of training on %s hold no more at the end than at the beginning', async (backend) => {
  await useBackend(backend);
  const before = tf.memory().numTensors;
  const samples = await soak(200);
  expect(tf.memory().numTensors).toBe(before);
  const [first, last] = [quarter(samples, 0), quarter(samples, 3)];
  for (const figure of ['tensors', 'tensorBytes', 'peakBytes', 'backendBytes'] as const) expect(last[figure]).toBe(first[figure]);
  expect(last.loss).toBeLessThan(first.loss / 2); // it did train
});
