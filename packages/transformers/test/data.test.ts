import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { byLength, fromPretrained, IGNORED, languageBatches, lossModel, meanLoss, pack, promptAndAnswer } from '../src/index.ts';
import { fixtures } from './fixture.ts';

beforeAll(() => useBackend('cpu'));

const texts = [
  [3, 4, 5, 6, 7],
  [8, 9],
  [10, 11, 12],
  [13, 14, 15, 16],
].map((ids) => ({ ids }));

test('a prompt is read, and its answer is learnt', () => {
  expect(promptAndAnswer([3, 4], [5])).toEqual({ ids: [3, 4, 5], labels: [IGNORED, IGNORED, 5] });
});

test('packing fills rows, numbers the texts in each, and predicts no text from another', () => {
  expect(pack(texts, { length: 8, padding: 1 })).toEqual([
    { ids: [3, 4, 5, 6, 7, 10, 11, 12], labels: [-100, 4, 5, 6, 7, -100, 11, 12], mask: [1, 1, 1, 1, 1, 2, 2, 2] },
    { ids: [13, 14, 15, 16, 8, 9, 1, 1], labels: [-100, 14, 15, 16, -100, 9, -100, -100], mask: [1, 1, 1, 1, 2, 2, 0, 0] },
  ]);
  expect(() => pack(texts, { length: 4 })).toThrow(/got 1 text\(s\) of more than 4 tokens/);
  expect(pack([], { length: 4 })).toEqual([]);
});

test('texts of like length go together, and a seed orders the batches', () => {
  const batches = byLength(texts, { batchSize: 2, padding: 1 });
  expect(batches[0]).toEqual([
    { ids: [8, 9, 1], labels: [8, 9, -100], mask: [1, 1, 0] },
    { ids: [10, 11, 12], labels: [10, 11, 12], mask: [1, 1, 1] },
  ]);
  const many = Array.from({ length: 20 }, (_, i) => ({ ids: Array.from({ length: i + 1 }, () => 3) }));
  const sizes = (seed?: number) => byLength(many, { batchSize: 2, ...(seed !== undefined && { seed }) }).map(([row]) => row!.ids.length);
  expect(sizes(1)).toEqual(sizes(1));
  expect(sizes(1)).not.toEqual(sizes(2));
  expect(sizes(1).sort((a, b) => a - b)).toEqual(sizes());
});

test('packed or not, a text has the same loss; batches feed fitDataset, which leaves no tensor behind', async () => {
  const model = await fromPretrained(join(fixtures, 'llama'), { inputs: ['input_ids', 'attention_mask'] });
  const trainer = lossModel(model);
  const before = tf.memory().numTensors;
  const totals = (rows: ReturnType<typeof pack>[]) =>
    tf.tidy(() => {
      const found = [...languageBatches(trainer, rows)].map(({ xs }) =>
        tf.sum(trainer.predict(trainer.inputNames.map((name) => xs[name]!)) as tf.Tensor, 0),
      );
      return [...tf.addN(found).dataSync()];
    });
  const [packed, padded] = [totals([pack(texts, { length: 8 })]), totals(byLength(texts, { batchSize: 2 }))];
  expect(packed[1]).toBe(10); // 14 tokens less the first of each text
  expect(padded[1]).toBe(10);
  expect(packed[0]).toBeCloseTo(padded[0]!, 4);
  const optimizer = tf.train.adam(0.02);
  trainer.compile({ optimizer, loss: meanLoss });
  const data = tf.data.generator(() => languageBatches(trainer, [pack(texts, { length: 8 })]));
  const { history } = await trainer.fitDataset(data as tf.data.Dataset<any>, { epochs: 20, verbose: 0 });
  expect(history['loss']!.at(-1)).toBeLessThan((history['loss']![0] as number) / 2);
  optimizer.dispose();
  expect(tf.memory().numTensors).toBeLessThanOrEqual(before);
  const plain = await fromPretrained(join(fixtures, 'llama'));
  expect(() => languageBatches(lossModel(plain), [pack(texts, { length: 8 })]).next()).toThrow(
    /packed rows for a model without attention_mask/,
  );
  for (const m of [trainer, model]) m.dispose();
});
