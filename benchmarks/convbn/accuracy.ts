/**
 * Test accuracy after fine-tuning in Eval and in Tune mode: MobileNetV2 with ImageNet weights, ten classes of CIFAR-10, over seeds.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/convbn/accuracy.ts --seed 1 [--write]
 *
 * A seed draws the head and the order of the photos, for both modes the same. All weights train, by Adam with a warm-up and a cosine.
 * The result file holds one entry a seed, and its settings, which must be those of the entries that are there already.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cifar10, mobilenetV2 } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { evalMode, tuneMode } from '@leantune/convbn';
import { finetune, type Technique, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

export interface AccuracyResult {
  readonly settings: typeof settings;
  readonly backend: string;
  readonly date: string;
  readonly seeds: readonly { readonly seed: number; readonly evalMode: number; readonly tuneMode: number }[];
}

const settings = {
  model: 'MobileNetV2-0.35',
  data: 'CIFAR-10',
  size: 96,
  train: 1000,
  test: 2000,
  batch: 16,
  epochs: 3,
  rate: 3e-4,
} as const;
const { values } = parseArgs({ options: { seed: { type: 'string', default: '1' }, write: { type: 'boolean', default: false } } });
const seed = Number(values.seed);
const file = new URL('results/accuracy.json', import.meta.url);

const { name: backend } = await useBackend('wasm');
const { train, test } = await cifar10({ train: settings.train, test: settings.test, size: settings.size });
const result = { seed, evalMode: await accuracy(evalMode()), tuneMode: await accuracy(tuneMode()) };
console.log(result);
if (values.write) {
  const before: readonly AccuracyResult['seeds'][number][] = existsSync(file) ? readSeeds() : [];
  const seeds = [...before.filter((one) => one.seed !== seed), result].sort((a, b) => a.seed - b.seed);
  const all: AccuracyResult = { settings, backend, date: new Date().toISOString(), seeds };
  writeFileSync(file, `${JSON.stringify(all, null, 2)}\n`);
}

function readSeeds(): AccuracyResult['seeds'] {
  const { settings: theirs, seeds } = JSON.parse(readFileSync(file, 'utf8')) as AccuracyResult;
  if (JSON.stringify(theirs) !== JSON.stringify(settings))
    throw new Error('[accuracy] results/accuracy.json was made with other settings. Delete it first.');
  return seeds;
}

/** The share of the test photos that are named right after fine-tuning. */
async function accuracy(technique: Technique): Promise<number> {
  const kernelInitializer = tf.initializers.randomNormal({ stddev: 0.02, seed });
  const head = tf.layers.dense({ name: 'photos', units: 10, activation: 'softmax', kernelInitializer });
  const model = tf.sequential({ layers: [await mobilenetV2({ size: settings.size }), head] });
  const tuned = finetune(model, technique);
  const perEpoch = Math.floor(settings.train / settings.batch);
  const steps = settings.epochs * perEpoch;
  const schedule = warmupCosine({ peak: settings.rate, warmupSteps: Math.floor(perEpoch / 2), steps });
  const optimizer = tuned.optimizer(tf.train.adam(), { schedule });
  for (let step = 0; step < steps; step++) {
    const indices = order(Math.floor(step / perEpoch)).slice((step % perEpoch) * settings.batch, ((step % perEpoch) + 1) * settings.batch);
    const [x, y] = tf.tidy(() => [train.images.gather(indices), train.labels.gather(indices)]);
    const loss = () => tf.metrics.categoricalCrossentropy(y!, model.apply(x!, { training: true }) as tf.Tensor).mean() as tf.Scalar;
    tf.dispose([tuned.minimize(loss, optimizer), x!, y!]);
  }
  const right = tf.tidy(() => (model.predict(test.images, { batchSize: 32 }) as tf.Tensor).argMax(1).equal(test.labels.argMax(1)).mean());
  const [share] = right.dataSync();
  right.dispose();
  tuned.dispose();
  optimizer.dispose();
  model.dispose();
  return Number(share!.toFixed(4));
}

/** The photos of an epoch, shuffled by the seed. */
function order(epoch: number): Int32Array {
  const keys = tf.tidy(() => tf.randomUniform([settings.train], 0, 1, 'float32', 1000 * seed + epoch).dataSync());
  return Int32Array.from(Int32Array.from({ length: settings.train }, (_, i) => i).sort((a, b) => keys[a]! - keys[b]!));
}
