/**
 * LoRA on stories15M that is frozen in few bits (QLoRA, arXiv 2305.14314): it learns, changes no code, needs less memory than on float32,
 * and its adapter goes on a base of float32. Runs where the weights are in the cache, and where CI or LEANTUNE_REAL_WEIGHTS asks for it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, measure } from '@leantune/core';
import { lora } from '@leantune/lora';
import { memoryFile } from '@leantune/testing';
import { fromPretrained, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { cacheFolder, storiesCheckpoint } from '../src/index.ts';

const drawn: { readonly heldOut: number[][] } = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/drawn-texts.json'), 'utf8'));
/** Two rows of 64 tokens, backwards: not what it has learnt. */
const rows = drawn.heldOut.slice(0, 2).map((row) => row.slice(0, 64).reverse());

const cached = existsSync(cacheFolder()) && readdirSync(cacheFolder()).some((folder) => folder.startsWith('stories15M'));
const wanted = process.env['LEANTUNE_REAL_WEIGHTS'] !== undefined || process.env['CI'] !== undefined;

async function learn(storage: 'float32' | 'nf4' | 'nf5') {
  const model = await fromPretrained(await storiesCheckpoint(), { storage });
  const codes = wordsOf(model);
  const trainer = lossModel(model);
  const tuned = finetune(trainer, lora({ r: 8, lora_alpha: 16, target_modules: ['q_proj', 'v_proj', 'down_proj'] }));
  const optimizer = tuned.optimizer(adamW({ learningRate: 5e-3 }));
  const x = tf.tensor2d(rows, undefined, 'int32');
  const loss = () => meanLoss(x, trainer.apply([x, x], { training: true }) as tf.Tensor);
  const { result: losses, memory } = await measure(() =>
    Array.from({ length: 4 }, () => tf.tidy(() => tuned.minimize(loss, optimizer).dataSync()[0]!)),
  );
  expect(wordsOf(model)).toEqual(codes);
  const file = memoryFile();
  await tuned.save(file);
  if (storage !== 'float32') {
    tuned.dispose(); // so that the next one is measured by itself
    trainer.dispose();
    model.dispose();
  }
  return { tuned, file, first: losses[0]!, last: losses.at(-1)!, peak: memory.peakBytes };
}

const wordsOf = (model: tf.LayersModel) => model.weights.filter(({ dtype }) => dtype === 'int32').map((weight) => weight.read().dataSync());
const told = ({ first, last, peak }: { first: number; last: number; peak: number }) =>
  `loss ${first.toFixed(3)} to ${last.toFixed(3)}, peak ${(peak / 1e6).toFixed(1)} MB`;

describe.skipIf(!wanted && !cached)('stories15M', () => {
  beforeAll(() => useBackend('wasm'));

  test('on a base in few bits it learns as well as on float32, in less memory, and the adapter loads there', async () => {
    const [nf4, nf5] = [await learn('nf4'), await learn('nf5')];
    const plain = await learn('float32');
    for (const [name, packed] of Object.entries({ nf4, nf5 })) {
      console.log(`${name}: ${told(packed)}; float32: ${told(plain)}`);
      expect(packed.first - packed.last).toBeGreaterThan(0.8 * (plain.first - plain.last));
      // by the base alone 60.8 MB to 8.2 or 9.1
      expect(plain.peak - packed.peak).toBeGreaterThan(45e6);
      await plain.tuned.load(packed.file);
    }
    plain.tuned.dispose();
  }, 600_000);
});
