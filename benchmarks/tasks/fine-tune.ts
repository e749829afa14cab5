/** Fine-tunes a pretrained model on a task from the same start, and says what it reached and what a step held. */
import { adamW, finetune, measure, type SiteFilter, type Technique, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { Task } from '../s2a/tasks.ts';

export interface Mode {
  /** The highest learning rate. */
  readonly rate: number;
  readonly make: (seed: number) => readonly Technique[];
}

export interface Trained {
  readonly trainable: number;
  readonly accuracy: number;
  readonly secondsPerStep: number;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
}

export const BATCH = 16;

/**
 * AdamW with a warm-up and a cosine. A seed decides the order of the examples and what is new in the model.
 *
 * @param first the weights that every run starts from
 */
export function fineTune(task: Task, first: tf.Tensor[], { rate, make }: Mode, trainable: SiteFilter | undefined, seed: number): Trained {
  task.model.setWeights(first);
  task.restart(seed);
  const tuned = finetune(task.model, make(seed), trainable === undefined ? {} : { trainable });
  const steps = task.epochs * Math.floor(task.examples / BATCH);
  const schedule = warmupCosine({ peak: rate, warmupSteps: Math.ceil(steps / 10), steps });
  const optimizer = tuned.optimizer(adamW({ weightDecay: 0.01 }), { schedule, clipNorm: 1 });
  const indices = (step: number) => batchOf(step, task.examples, seed);
  const { memory } = measure(() => tf.dispose(tuned.valueAndGrads(() => task.loss(indices(0)))), { model: task.model });
  const started = performance.now();
  for (let step = 0; step < steps; step++) {
    const cost = tuned.minimize(() => task.loss(indices(step)), optimizer);
    cost.dataSync();
    cost.dispose();
  }
  const secondsPerStep = (performance.now() - started) / 1000 / steps;
  const accuracy = task.accuracy();
  const { trainable: count } = tuned.summary();
  optimizer.dispose();
  tuned.dispose();
  console.log(`  seed ${seed}: ${(100 * accuracy).toFixed(2)} %, ${secondsPerStep.toFixed(2)} s a step`);
  const { keptBytes, peakAboveWeights } = memory;
  return { trainable: count, accuracy, secondsPerStep, keptBytes, peakAboveWeights };
}

/** The examples of a step: every epoch in an order of its own. */
export function batchOf(step: number, examples: number, seed: number): number[] {
  return Array.from({ length: BATCH }, (_, i) => shuffled(step * BATCH + i, examples, seed));
}

function shuffled(n: number, count: number, seed: number): number {
  const strides = [7, 11, 13, 17, 19, 23, 29, 31]; // primes that do not divide the number of examples
  const usable = strides.filter((stride) => count % stride !== 0);
  return ((n % count) * usable[(Math.floor(n / count) + seed) % usable.length]! + 101 * seed) % count;
}
