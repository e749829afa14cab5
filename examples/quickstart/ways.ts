/** Three ways to fine-tune one model on the same batches: stock tfjs, LeanTune without techniques, and with three stacked on each other. */
import { type Progress, progressBar } from '@leantune/assets';
import { tuneMode } from '@leantune/convbn';
import {
  finetune,
  type MemoryReport,
  measure,
  type Schedule,
  type SiteFilter,
  setLearningRate,
  type Technique,
  type Tuned,
  warmupCosine,
} from '@leantune/core';
import { biasTuning, fourBit } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';

export interface Way {
  readonly name: string;
  /** What is attached; undefined is stock tfjs. */
  readonly techniques: (() => readonly Technique[]) | undefined;
  /** Of the model's own weights. */
  readonly trainable: SiteFilter;
  /** The highest learning rate. */
  readonly rate: number;
}

// Every convolution and the head. BatchNorm does not train, and so runs as in inference: batches are small.
const convolutions: SiteFilter = (site) => site.kind !== 'batchNorm';

export const ways: readonly [Way, Way, Way] = [
  { name: 'stock tfjs', techniques: undefined, trainable: convolutions, rate: 3e-4 },
  { name: 'LeanTune', techniques: () => [], trainable: convolutions, rate: 3e-4 },
  // Convolutions and batch norms as one, of which biases and offsets train, beside the head; what still waits for backward does so in few bits.
  { name: 'LeanTune + techniques', techniques: () => [tuneMode(), biasTuning(), fourBit()], trainable: 'sketches', rate: 5e-3 },
];

export interface Data {
  /** [n, size, size, 3] in [-1, 1]. */
  readonly images: tf.Tensor4D;
  /** One-hot. */
  readonly labels: tf.Tensor2D;
}

export interface Plan {
  /** What each epoch goes through, in order. */
  readonly epochs: readonly Data[];
  readonly batchSize: number;
}

/**
 * Measures the second step of `model` on a batch, for which Adam has its slots, and disposes of the model. The loss runs BatchNorm as in
 * inference, and stock tfjs gets the variables that LeanTune selects: so all compute the same function.
 */
export function measuredStep(way: Way, model: tf.LayersModel, batch: Data): { memory: MemoryReport; weights: tf.Tensor[] } {
  const { variables, tuned, leave } = prepare(way, model);
  const optimizer = tf.train.adam(1e-4);
  const loss = lossOf(model, batch);
  const step = (): void => (tuned ? tuned.minimize(loss, optimizer) : optimizer.minimize(loss, true, variables)!).dispose();
  step();
  const { memory } = measure(step, { model, optimizer });
  const weights = model.getWeights().map((weight) => weight.clone());
  leave();
  model.dispose();
  optimizer.dispose();
  return { memory, weights };
}

/** Trains `model`; returns its tuning, if it has one, and the seconds that it took. */
export async function train(way: Way, model: tf.LayersModel, plan: Plan): Promise<{ tuned: Tuned | undefined; seconds: number }> {
  const { variables, tuned } = prepare(way, model);
  const steps = plan.epochs.reduce((sum, { images }) => sum + Math.ceil(images.shape[0] / plan.batchSize), 0);
  const schedule = warmupCosine({ peak: way.rate, warmupSteps: Math.ceil(steps / 8), steps });
  const bar = progressBar(way.name, steps);
  const started = performance.now();
  await (tuned ? fit(tuned, model, plan, schedule, bar) : loop(variables, model, plan, schedule, bar));
  bar.stop();
  return { tuned, seconds: (performance.now() - started) / 1000 };
}

/** Two lines more than tfjs. */
async function fit(tuned: Tuned, model: tf.LayersModel, { epochs, batchSize }: Plan, schedule: Schedule, bar: Progress): Promise<void> {
  model.compile({ optimizer: tuned.optimizer(tf.train.adam(), { schedule }), loss: 'categoricalCrossentropy' });
  let step = 0;
  const onBatchEnd = (_: number, logs?: tf.Logs): void => bar.update(++step, `loss ${logs?.['loss']?.toFixed(3)}`);
  for (const { images, labels } of epochs)
    await model.fit(images, labels, { batchSize, shuffle: false, verbose: 0, callbacks: { onBatchEnd } });
  model.optimizer.dispose();
}

/** The same with stock tfjs, whose `fit` would move the statistics of frozen batch norms. */
async function loop(
  variables: tf.Variable[],
  model: tf.LayersModel,
  { epochs, batchSize }: Plan,
  schedule: Schedule,
  bar: Progress,
): Promise<void> {
  const optimizer = tf.train.adam();
  let step = 0;
  for (const { images, labels } of epochs)
    for (let from = 0; from < images.shape[0]; from += batchSize) {
      const size = Math.min(batchSize, images.shape[0] - from);
      const batch = { images: tf.slice(images, from, size), labels: tf.slice(labels, from, size) };
      setLearningRate(optimizer, schedule(step));
      const loss = optimizer.minimize(lossOf(model, batch), true, variables)!;
      bar.update(++step, `loss ${(await loss.data())[0]!.toFixed(3)}`);
      tf.dispose([loss, batch.images, batch.labels]);
    }
  optimizer.dispose();
}

/** `leave` ends the tuning; the weights stay as they are. */
function prepare({ techniques, trainable }: Way, model: tf.LayersModel) {
  const tuned = finetune(model, techniques?.() ?? [], { trainable });
  if (techniques) return { variables: [], tuned, leave: () => tuned.dispose() };
  const variables = [...tuned.variables];
  tuned.detach();
  return { variables, tuned: undefined, leave: () => {} };
}

const lossOf =
  (model: tf.LayersModel, { images, labels }: Data) =>
  (): tf.Scalar =>
    tf.metrics.categoricalCrossentropy(labels, model.apply(images) as tf.Tensor).mean();

/** The largest difference between two lists of tensors, element by element. */
export function difference(a: readonly tf.Tensor[], b: readonly tf.Tensor[]): number {
  return Math.max(...a.map((tensor, i) => tf.tidy(() => tensor.sub(b[i]!).abs().max().dataSync()[0]!)));
}
