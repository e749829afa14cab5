/** One training step, by tfjs or by LeanTune, held side by side: its memory, and the weights after it. */
import type { ImageSet } from '@leantune/assets';
import { finetune, type MemoryReport, measure, type SiteFilter } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

/**
 * Measures the second step of `model` on the batch, for which Adam has its slots, and disposes of the model. tfjs gets the
 * same variables that LeanTune selects; `model.apply` runs BatchNorm as in inference for both.
 */
export function trainingStep(
  by: 'tfjs' | 'LeanTune',
  model: tf.LayersModel,
  { images, labels }: ImageSet,
  trainable: SiteFilter,
): { memory: MemoryReport; weights: tf.Tensor[] } {
  const tuned = finetune(model, [], { trainable });
  const variables = [...tuned.variables];
  if (by === 'tfjs') tuned.detach();
  const optimizer = tf.train.adam(1e-4);
  const loss = (): tf.Scalar => tf.metrics.categoricalCrossentropy(labels, model.apply(images) as tf.Tensor).mean();
  const step = (): void => (by === 'tfjs' ? optimizer.minimize(loss, true, variables) : tuned.minimize(loss, optimizer))!.dispose();
  step();
  const { memory } = measure(step, { model, optimizer });
  const weights = model.getWeights().map((weight) => weight.clone());
  tuned.dispose();
  model.dispose();
  optimizer.dispose();
  return { memory, weights };
}

/** The peak of both, by category. */
export function printMemory(lean: MemoryReport, stock: MemoryReport): void {
  const megabytes = (bytes: number): number => Number((bytes / 1e6).toFixed(2));
  const row = (a: number, b: number) => ({ 'tfjs, MB': megabytes(a), 'LeanTune, MB': megabytes(b) });
  const categories = (Object.keys(lean.atPeak) as (keyof MemoryReport['atPeak'])[]).map((key) => [
    key,
    row(stock.atPeak[key], lean.atPeak[key]),
  ]);
  console.table(Object.fromEntries([...categories, ['peak', row(stock.peakBytes, lean.peakBytes)]]));
}

/** The largest difference between two lists of tensors, element by element. */
export function difference(a: readonly tf.Tensor[], b: readonly tf.Tensor[]): number {
  return Math.max(...a.map((tensor, i) => tf.tidy(() => tensor.sub(b[i]!).abs().max().dataSync()[0]!)));
}
