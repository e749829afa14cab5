/**
 * Why the original weights train and not the folded ones: loss curves of a real network under the same steps of SGD, in each mode.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/convbn/stability.ts [--model resnet50|mobilenetV2] [--rate 1e-3] [--steps 24] [--write]
 *
 * ImageNet weights, ten classes of CIFAR-10, a new head; everything trains. Eval and Tune mode are the same function with the same
 * gradients, so their curves part by rounding alone.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cifar10, type ImageSet, mobilenetV2, resnet50, resnet50Input } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { deployMode, evalMode, pairsOf, trainMode, tuneMode } from '@leantune/convbn';
import { finetune, type Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'resnet50' },
    rate: { type: 'string', default: '1e-3' },
    steps: { type: 'string', default: '24' },
    seed: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
  },
});
const [rate, steps, seed] = [values.rate, values.steps, values.seed].map(Number) as [number, number, number];
const [size, batch] = [64, 16];

export interface StabilityResult {
  readonly model: string;
  readonly data: string;
  readonly size: number;
  readonly batch: number;
  readonly optimizer: string;
  readonly seed: number;
  readonly backend: string;
  readonly date: string;
  readonly curves: readonly Curve[];
}

interface Curve {
  readonly mode: string;
  /** One a step; shorter than `steps` if the loss was no longer finite. */
  readonly losses: readonly number[];
  readonly testAccuracy: number | null;
}

await useBackend('wasm');
const data = await cifar10({ train: steps * batch, test: 320, size });
const modes: readonly (() => Technique)[] = [evalMode, tuneMode, deployMode, trainMode];
const curves: Curve[] = [];
for (const mode of modes) {
  const curve = await train(mode());
  curves.push(curve);
  const mean = (losses: readonly number[]) => (losses.reduce((sum, loss) => sum + loss, 0) / losses.length).toFixed(3);
  const tenths = Array.from({ length: 6 }, (_, i) => mean(curve.losses.slice((i * steps) / 6, ((i + 1) * steps) / 6)));
  console.log(
    `${curve.mode.padEnd(11)} loss ${tenths.join(' ')}  test accuracy ${curve.testAccuracy ?? '-'} after ${curve.losses.length} steps`,
  );
}
if (values.write) {
  const result: StabilityResult = {
    model: values.model,
    data: 'CIFAR-10',
    size,
    batch,
    optimizer: `sgd ${rate}`,
    seed,
    backend: 'wasm',
    date: new Date().toISOString(),
    curves,
  };
  writeFileSync(new URL(`results/stability-${rate}.json`, import.meta.url), `${JSON.stringify(result, null, 1)}\n`);
}

/** [n, size, size, 3] -> [n, features] */
async function features(): Promise<tf.LayersModel> {
  if (values.model === 'mobilenetV2') return mobilenetV2({ size });
  const whole = await resnet50({ size });
  return tf.model({ inputs: whole.inputs, outputs: whole.layers.at(-2)!.output as tf.SymbolicTensor });
}

/** What the network wants of images in [-1, 1]. */
function input(images: tf.Tensor4D): tf.Tensor4D {
  return values.model === 'mobilenetV2' ? images : resnet50Input(images);
}

async function train(technique: Technique): Promise<Curve> {
  const base = await features();
  const kernelInitializer = tf.initializers.randomNormal({ stddev: 0.02, seed });
  const model = tf.sequential({ layers: [base, tf.layers.dense({ units: 10, activation: 'softmax', kernelInitializer, name: 'head' })] });
  if (technique.name === 'tuneMode') console.log(String(pairsOf(model)));
  const tuned = finetune(model, technique);
  const optimizer = tuned.optimizer(tf.train.sgd(rate));
  const losses: number[] = [];
  try {
    for (let step = 0; step < steps; step++) losses.push(stepOn(data.train, step));
  } catch (error) {
    if (!/not finite|loss is (NaN|-?Infinity)/.test(String(error))) throw error;
  }
  const finite = losses.length === steps;
  const testAccuracy = finite ? accuracy() : null;
  tuned.dispose();
  optimizer.dispose();
  model.dispose();
  return { mode: technique.name, losses, testAccuracy };

  function stepOn({ images, labels }: ImageSet, step: number): number {
    const [x, y] = [images, labels].map((t) => tf.slice(t, step * batch, batch)) as [tf.Tensor, tf.Tensor];
    const loss = tuned.minimize(
      () =>
        tf.mean(tf.metrics.categoricalCrossentropy(y, model.apply(input(x as tf.Tensor4D), { training: true }) as tf.Tensor)) as tf.Scalar,
      optimizer,
    );
    const [value] = loss.dataSync();
    tf.dispose([x, y, loss]);
    return value!;
  }

  function accuracy(): number {
    const { images, labels } = data.test;
    const right = tf.tidy(
      () =>
        tf
          .equal(tf.argMax(model.predict(input(images)) as tf.Tensor, 1), tf.argMax(labels, 1))
          .sum()
          .dataSync()[0]!,
    );
    return right / images.shape[0];
  }
}
