/**
 * LoRA on stories15M that is frozen in few bits (QLoRA, arXiv 2305.14314): it learns, changes no code, needs less memory than on float32,
 * and its adapter goes on a base of float32. Runs where the weights are in the cache, and where CI or LEANTUNE_REAL_WEIGHTS asks for it.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, measure } from '@leantune/core';
import { lora } from '@leantune/lora';
import { type MemoryFile, memoryFile } from '@leantune/testing';
import { fromPretrained, lossModel, meanLoss } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { cacheFolder, storiesCheckpoint } from '../src/index.ts';

const drawn: { readonly heldOut: number[][] } = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/drawn-texts.json'), 'utf8'));
/** Two rows of 64 tokens, backwards: not what it has learnt. */
const rows = drawn.heldOut.slice(0, 2).map((row) => row.slice(0, 64).reverse());

const cached = existsSync(cacheFolder()) && readdirSync(cacheFolder()).some((folder) => folder.startsWith('stories15M'));
const wanted = process.env['LEANTUNE_REAL_WEIGHTS'] !== undefined || process.env['CI'] !== undefined;

async function learn(storage: 'float32' | 'nf4' | 'nf5', steps: number) {
  const model = await fromPretrained(await storiesCheckpoint(), { storage });
  const trainer = lossModel(model);
  const tuned = finetune(trainer, lora({ r: 8, lora_alpha: 16, target_modules: ['q_proj', 'v_proj', 'down_proj'] }));
  const optimizer = tuned.optimizer(adamW({ learningRate: 5e-3 }));
  const x = tf.tensor2d(rows, undefined, 'int32');
  const loss = () => meanLoss(x, trainer.apply([x, x], { training: true }) as tf.Tensor);
  const { result: losses, memory } = await measure(() =>
    Array.from({ length: steps }, () => tf.tidy(() => tuned.minimize(loss, optimizer).dataSync()[0]!)),
  );
  const evaluated = tf.tidy(() => meanLoss(x, trainer.predict([x, x]) as tf.Tensor).dataSync()[0]!);
  const dispose = () => {
    tuned.dispose();
    trainer.dispose();
    model.dispose();
  };
  return { model, tuned, losses, memory, evaluated, dispose };
}

const wordsOf = (model: tf.LayersModel) => model.weights.filter(({ dtype }) => dtype === 'int32').map((weight) => weight.read().dataSync());

describe.skipIf(!wanted && !cached)('stories15M', () => {
  beforeAll(() => useBackend('wasm'));

  test('on a base in few bits it learns as well as on float32, in less memory, and the adapter loads there', async () => {
    const plain = await learn('float32', 4);
    plain.dispose();
    const files: MemoryFile[] = [];
    for (const storage of ['nf4', 'nf5'] as const) {
      const packed = await learn(storage, 4);
      const fell = ({ losses, evaluated }: typeof packed) => losses[0]! - evaluated;
      const peaks = [packed, plain].map(({ memory }) => memory.peakBytes / 1e6) as [number, number];
      console.log(
        `${storage}: loss ${packed.losses[0]!.toFixed(3)} to ${packed.evaluated.toFixed(3)}, peak ${peaks[0].toFixed(1)} MB; float32: ${plain.losses[0]!.toFixed(3)} to ${plain.evaluated.toFixed(3)}, ${peaks[1].toFixed(1)} MB`,
      );
      expect(fell(packed)).toBeGreaterThan(0.8 * fell(plain));
      // by the base alone 60.8 MB to 8.2 or 9.1
      expect(peaks[1] - peaks[0]).toBeGreaterThan(45);
      const file = memoryFile();
      await packed.tuned.save(file);
      files.push(file);
      const untouched = await fromPretrained(await storiesCheckpoint(), { storage });
      expect(wordsOf(packed.model)).toEqual(wordsOf(untouched));
      untouched.dispose();
      packed.dispose();
    }
    const { tuned, dispose } = await learn('float32', 0);
    for (const file of files) await tuned.load(file);
    dispose();
  }, 600_000);
});
