/** Fine-tunes a pretrained model on a task from the same start, by the same schedule, whatever trains; and says what a step held. */
import { adamW, finetune, measure, type SiteFilter, type Technique, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';

/** What there is to learn. */
export interface Task {
  readonly data: string;
  readonly model: LayersModel;
  readonly examples: number;
  readonly epochs: number;
  /** Gives the head its first weights of a run. */
  restart(seed: number): void;
  /** Mean cross-entropy of some of the examples that train. */
  loss(indices: readonly number[]): tf.Scalar;
}

export interface Way {
  readonly techniques: readonly Technique[];
  readonly trainable: SiteFilter | undefined;
  /** The highest learning rate. */
  readonly rate: number;
  /** Decides the order of the examples, and what is new in the model. */
  readonly seed: number;
  /** Which variables decay. @default all */
  readonly decay?: (name: string) => boolean;
}

export interface Step {
  readonly trainable: number;
  /** Of forward and backward of the first batch. */
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
}

export const BATCH = 16;

/**
 * AdamW with a warm-up and a cosine.
 *
 * @param first the weights that every run starts from
 * @param evaluate reads the trained model, as it is under its techniques
 */
export function fineTune<T>(task: Task, first: tf.Tensor[], way: Way, evaluate: () => T): Step & { readonly result: T } {
  const { techniques, trainable, rate, seed, decay } = way;
  task.model.setWeights(first);
  task.restart(seed);
  const tuned = finetune(task.model, techniques, trainable === undefined ? {} : { trainable });
  const batches = batchesOf(task, seed);
  const schedule = warmupCosine({ peak: rate, warmupSteps: Math.ceil(batches.length / 10), steps: batches.length });
  const optimizer = tuned.optimizer(adamW({ weightDecay: 0.01, ...(decay && { decay }) }), { schedule, clipNorm: 1 });
  const { memory } = measure(() => tf.dispose(tuned.valueAndGrads(() => task.loss(batches[0]!))), { model: task.model });
  for (const indices of batches) tuned.minimize(() => task.loss(indices), optimizer).dispose();
  const result = evaluate();
  const { trainable: count } = tuned.summary();
  optimizer.dispose();
  tuned.dispose();
  return { trainable: count, keptBytes: memory.keptBytes, peakAboveWeights: memory.peakAboveWeights, result };
}

/** The examples of each step: every epoch in an order of its own, without those that fill no batch. */
export function batchesOf({ examples, epochs }: Pick<Task, 'examples' | 'epochs'>, seed: number, size: number = BATCH): number[][] {
  return Array.from({ length: epochs }, (_, epoch) => {
    const keys = tf.tidy(() => tf.randomUniform([examples], 0, 1, 'float32', 1000 * seed + epoch).dataSync());
    const order = Array.from({ length: examples }, (_, i) => i).sort((a, b) => keys[a]! - keys[b]!);
    return stretches(order, size).filter((batch) => batch.length === size);
  }).flat();
}

export function stretches<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, k) => items.slice(k * size, (k + 1) * size));
}
