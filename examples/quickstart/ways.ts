/** Three ways to fine-tune one model on the same batches: stock tfjs, LeanTune without techniques, and with two stacked on each other. */
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
} from '@leantune/core';
import { fourBit } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';

export interface Way {
  readonly name: string;
  /** What is attached; undefined is stock tfjs. */
  readonly techniques: (() => readonly Technique[]) | undefined;
}

export const ways: readonly [Way, Way, Way] = [
  { name: 'stock tfjs', techniques: undefined },
  { name: 'LeanTune', techniques: () => [] },
  // Each convolution with its batch norm as one, and what waits for backward in few bits.
  { name: 'LeanTune, tune mode + 4 bits', techniques: () => [tuneMode(), fourBit()] },
];

export interface Data {
  readonly images: tf.Tensor4D;
  /** One-hot. */
  readonly labels: tf.Tensor2D;
}

export interface Plan {
  readonly trainable: SiteFilter;
  readonly epochs: number;
  readonly batchSize: number;
  readonly schedule: Schedule;
}

/**
 * Measures the second step of `model` on a batch, for which Adam has its slots, and disposes of the model. The loss runs BatchNorm as in
 * inference, and stock tfjs gets the variables that LeanTune selects: so all compute the same function.
 */
export function measuredStep(
  way: Way,
  model: tf.LayersModel,
  batch: Data,
  trainable: SiteFilter,
): { memory: MemoryReport; weights: tf.Tensor[] } {
  const { variables, tuned, leave } = prepare(way, model, trainable);
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
export async function train(
  way: Way,
  model: tf.LayersModel,
  data: Data,
  plan: Plan,
): Promise<{ tuned: Tuned | undefined; seconds: number }> {
  const { variables, tuned } = prepare(way, model, plan.trainable);
  const steps = plan.epochs * Math.ceil(data.images.shape[0] / plan.batchSize);
  const bar = progressBar(way.name, steps);
  const started = performance.now();
  await (tuned ? fit(tuned, model, data, plan, bar) : loop(variables, model, data, plan, bar));
  bar.stop();
  return { tuned, seconds: (performance.now() - started) / 1000 };
}

/** Two lines more than tfjs. */
async function fit(
  tuned: Tuned,
  model: tf.LayersModel,
  { images, labels }: Data,
  { epochs, batchSize, schedule }: Plan,
  bar: Progress,
): Promise<void> {
  model.compile({ optimizer: tuned.optimizer(tf.train.adam(), { schedule }), loss: 'categoricalCrossentropy' });
  let step = 0;
  const onBatchEnd = (_: number, logs?: tf.Logs): void => bar.update(++step, `loss ${logs?.['loss']?.toFixed(3)}`);
  await model.fit(images, labels, { epochs, batchSize, shuffle: false, verbose: 0, callbacks: { onBatchEnd } });
  model.optimizer.dispose();
}

/** The same with stock tfjs, whose `fit` would move the statistics of frozen batch norms. */
async function loop(
  variables: tf.Variable[],
  model: tf.LayersModel,
  { images, labels }: Data,
  { epochs, batchSize, schedule }: Plan,
  bar: Progress,
): Promise<void> {
  const [optimizer, count] = [tf.train.adam(), images.shape[0]];
  const perEpoch = Math.ceil(count / batchSize);
  for (let step = 0; step < epochs * perEpoch; step++) {
    const from = (step % perEpoch) * batchSize;
    const size = Math.min(batchSize, count - from);
    const batch = { images: tf.slice(images, from, size), labels: tf.slice(labels, from, size) };
    setLearningRate(optimizer, schedule(step));
    const loss = optimizer.minimize(lossOf(model, batch), true, variables)!;
    bar.update(step + 1, `loss ${(await loss.data())[0]!.toFixed(3)}`);
    tf.dispose([loss, batch.images, batch.labels]);
  }
  optimizer.dispose();
}

/** `leave` ends the tuning; the weights stay as they are. */
function prepare({ techniques }: Way, model: tf.LayersModel, trainable: SiteFilter) {
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
