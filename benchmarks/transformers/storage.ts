/**
 * stories15M held in fewer bits: bytes, perplexity, and what a step of LoRA on it takes. On wasm, some minutes:
 *
 *   npx tsx --conditions=@leantune/source benchmarks/transformers/storage.ts
 */
import { existsSync, writeFileSync } from 'node:fs';
import { storiesCheckpoint } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { finetune, measure } from '@leantune/core';
import { lora } from '@leantune/lora';
import { fromPretrained, lossModel, meanLoss, type PretrainedOptions } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { at, readJson } from '../documents.ts';
import { type Provenance, provenance } from '../reliability/result.ts';

type Storage = NonNullable<PretrainedOptions['storage']>;

interface Row {
  readonly storage: Storage;
  readonly calibrated: boolean;
  /** Of all weights, as they lie in memory. */
  readonly bytesPerParameter: number;
  readonly perplexity: number;
  /** Weights included. Null with calibration, which changes it by nothing. */
  readonly trainingPeak: number | null;
}

export interface StorageResult extends Provenance {
  readonly tokens: string;
  readonly calibrationTokens: number;
  readonly batch: string;
  readonly rows: readonly Row[];
}

const cases: readonly (readonly [storage: Storage, calibrated: boolean])[] = [
  ['float32', false],
  ['bfloat16', false],
  ['float16', false],
  ['int8', false],
  ['nf5', false],
  ['nf5', true],
  ['nf4', false],
  ['nf4', true],
];
const path = 'transformers/results/storage.json';

const drawn = readJson<{ heldOut: number[][]; calibration: number[][] }>('../examples/assets/test/fixtures/drawn-texts.json');
const matrix = (rows: number[][]) => tf.tensor2d(rows, undefined, 'int32');

async function rowOf(storage: Storage, calibrated: boolean): Promise<Row> {
  const calibration = matrix(drawn.calibration);
  const model = await fromPretrained(await storiesCheckpoint(), { storage, ...(calibrated && { calibration }) });
  const trainer = lossModel(model);
  const weights = model.weights.map((weight) => weight.read());
  const bytes = weights.reduce((sum, { size }) => sum + 4 * size, 0);
  const parameters = finetune(trainer, lora({ r: 8 }));
  const base = parameters.summary().total - parameters.summary().trainable;
  parameters.dispose();
  const losses = Array.from({ length: drawn.heldOut.length / 8 }, (_, i) =>
    tf.tidy(() => {
      const rows = matrix(drawn.heldOut.slice(8 * i, 8 * (i + 1)));
      return meanLoss(rows, trainer.predict([rows, rows]) as tf.Tensor).dataSync()[0]!;
    }),
  );
  const perplexity = Math.exp(losses.reduce((sum, loss) => sum + loss, 0) / losses.length);
  const trainingPeak = calibrated ? null : await peakOf(trainer);
  tf.dispose(calibration);
  trainer.dispose();
  model.dispose();
  return { storage, calibrated, bytesPerParameter: bytes / base, perplexity, trainingPeak };
}

async function peakOf(trainer: tf.LayersModel): Promise<number> {
  const tuned = finetune(trainer, lora({ r: 8 }));
  const optimizer = tuned.optimizer(tf.train.adam(1e-3));
  const x = matrix(drawn.heldOut.slice(0, 2).map((row) => row.slice(0, 128)));
  const step = () =>
    tf.tidy(() => void tuned.minimize(() => meanLoss(x, trainer.apply([x, x], { training: true }) as tf.Tensor), optimizer));
  step(); // makes the moments
  const { memory } = await measure(step);
  tuned.dispose();
  optimizer.dispose();
  x.dispose();
  return memory.peakBytes;
}

await useBackend('wasm');
// what is there stays with --continue, so that a run may be ended and gone on with
const known = existsSync(at(path)) && process.argv.includes('--continue') ? readJson<StorageResult>(path).rows : [];
const rows: Row[] = [...known];
for (const [storage, calibrated] of cases.slice(rows.length)) {
  rows.push(await rowOf(storage, calibrated));
  console.log(rows.at(-1));
  const result: StorageResult = {
    ...provenance('transformers/storage.ts'),
    tokens: `${drawn.heldOut.length} · ${drawn.heldOut[0]!.length}`,
    calibrationTokens: drawn.calibration.flat().length,
    batch: '2 texts of 128 tokens',
    rows,
  };
  writeFileSync(at(path), `${JSON.stringify(result, null, 2)}\n`);
}
