/** Trains a model in each of some modes from the same weights, and tells how each went as a row of a table. */
import { progressBar } from '@leantune/assets';
import { adamW, finetune, measure, type SiteFilter, type Technique, type TunableModel, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

export interface Mode {
  readonly rate: number;
  readonly techniques: readonly Technique[];
  /** What trains beside the modules. */
  readonly trainable?: SiteFilter;
}

export interface Task {
  readonly title: string;
  readonly model: TunableModel;
  readonly modes: { readonly [mode: string]: Mode };
  readonly epochs: number;
  /** Batches of an epoch. */
  readonly batches: number;
  /** Gives the model the weights that every mode starts from. */
  restart(): void;
  loss(batch: number): tf.Scalar;
  /** Share of right answers on the test set. */
  accuracy(): number;
}

export function compare(task: Task): void {
  const rows = Object.entries(task.modes).map(([name, mode]) => row(task, name, mode));
  const head = `| ${task.title} | trained | accuracy | kept for backward | peak above weights | time |\n|---|---:|---:|---:|---:|---:|`;
  console.log(`\n${[head, ...rows].join('\n')}\n`);
}

function row(task: Task, name: string, { rate, techniques, trainable }: Mode): string {
  task.restart();
  const tuned = finetune(task.model, techniques, trainable === undefined ? {} : { trainable });
  const steps = task.epochs * task.batches;
  const schedule = warmupCosine({ peak: rate, warmupSteps: Math.ceil(steps / 10), steps });
  const optimizer = tuned.optimizer(adamW({ weightDecay: 0.01 }), { schedule, clipNorm: 1 });
  const { memory } = measure(() => tf.dispose(tuned.valueAndGrads(() => task.loss(0))), { model: task.model });
  const bar = progressBar(name, steps);
  const started = performance.now();
  for (let step = 0; step < steps; step++) {
    const cost = tuned.minimize(() => task.loss(step % task.batches), optimizer);
    bar.update(step + 1, `loss ${cost.dataSync()[0]!.toFixed(3)}`);
    cost.dispose();
  }
  bar.stop();
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  const cells = [name, tuned.summary().trainable.toLocaleString('en'), `${(100 * task.accuracy()).toFixed(1)} %`];
  optimizer.dispose();
  tuned.dispose();
  return `| ${[...cells, megabytes(memory.keptBytes), megabytes(memory.peakAboveWeights), `${seconds} s`].join(' | ')} |`;
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}
