/**
 * What S2A costs in accuracy: a pretrained model fine-tuned in full, by its biases, by low-rank prompts, by a side branch, and by biases with
 * all else waiting in 4 bits; several seeds each.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/s2a/accuracy.ts [--model minilm|resnet-50] [--seeds 3] [--write]
 *
 * `minilm` sorts questions about cooking by topic, `resnet-50` sorts photos of CIFAR-10 at 64 px, from a head that has learned on frozen
 * features. A seed decides the order of the examples and what is new in the model. All runs see the same examples, as often.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { type BackendName, useBackend } from '@leantune/backends';
import { adamW, finetune, measure, type SiteFilter, type Technique, warmupCosine } from '@leantune/core';
import { biasTuning, fourBit, liteSideBranch, lowRankPrompt } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';
import { tasks } from './tasks.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'minilm' },
    backend: { type: 'string', default: 'tensorflow' },
    seeds: { type: 'string', default: '3' },
    write: { type: 'boolean', default: false },
  },
});
const batch = 16;

interface Mode {
  readonly rate: number;
  readonly make: (seed: number) => readonly Technique[];
}

const modes: { readonly [what: string]: Mode } = {
  full: { rate: 1e-4, make: () => [] },
  'S2A: biases, 4 bits': { rate: 2e-3, make: () => [biasTuning(), fourBit()] },
  biases: { rate: 2e-3, make: () => [biasTuning()] },
  'side branch': { rate: 2e-3, make: (seed) => [liteSideBranch({ width: 32, seed })] },
  prompt: { rate: 2e-3, make: (seed) => [lowRankPrompt({ rank: 4, seed })] },
};

await useBackend(values.backend as BackendName);
const task = await tasks[values.model]!();
const first = task.model.getWeights().map((weight) => weight.clone());
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => i + 1);
const rows = [];
for (const [what, mode] of Object.entries(modes)) {
  const runs = seeds.map((seed) => train(mode, what === 'full' ? {} : { trainable: task.head }, seed));
  const { trainable, keptBytes, peakAboveWeights } = runs[0]!;
  const mean = (list: readonly number[]) => list.reduce((sum, x) => sum + x, 0) / list.length;
  rows.push({
    ...{ what, trainable, accuracy: runs.map(({ accuracy }) => accuracy), keptBytes, peakAboveWeights },
    secondsPerStep: mean(runs.map(({ secondsPerStep }) => secondsPerStep)),
  });
  console.log(JSON.stringify(rows.at(-1)));
  if (values.write)
    writeFileSync(
      new URL(`results/accuracy-${values.model}.json`, import.meta.url),
      `${JSON.stringify({ model: values.model, data: task.data, batch, epochs: task.epochs, backend: tf.getBackend(), parameters: task.model.countParams(), rows }, undefined, 2)}\n`,
    );
}

function train({ rate, make }: Mode, options: { readonly trainable?: SiteFilter }, seed: number) {
  task.model.setWeights(first);
  task.restart(seed);
  const tuned = finetune(task.model, make(seed), options);
  const { trainable } = tuned.summary();
  const steps = task.epochs * Math.floor(task.examples / batch);
  const schedule = warmupCosine({ peak: rate, warmupSteps: Math.ceil(steps / 10), steps });
  const optimizer = tuned.optimizer(adamW({ weightDecay: 0.01 }), { schedule, clipNorm: 1 });
  const indices = (step: number) => Array.from({ length: batch }, (_, i) => shuffled(step * batch + i, task.examples, seed));
  const { memory } = measure(() => tf.dispose(tuned.valueAndGrads(() => task.loss(indices(0)))), { model: task.model });
  const started = performance.now();
  for (let step = 0; step < steps; step++) {
    const cost = tuned.minimize(() => task.loss(indices(step)), optimizer);
    cost.dataSync();
    cost.dispose();
  }
  const secondsPerStep = (performance.now() - started) / 1000 / steps;
  const accuracy = task.accuracy();
  optimizer.dispose();
  tuned.dispose();
  console.log(`  seed ${seed}: ${(100 * accuracy).toFixed(2)} %, ${secondsPerStep.toFixed(2)} s a step`);
  return { trainable, accuracy, secondsPerStep, keptBytes: memory.keptBytes, peakAboveWeights: memory.peakAboveWeights };
}

/** The index of the n-th example of a run: every epoch in an order of its own. */
function shuffled(n: number, count: number, seed: number): number {
  const strides = [7, 11, 13, 17, 19, 23, 29, 31]; // primes that do not divide the number of examples
  const usable = strides.filter((stride) => count % stride !== 0);
  return ((n % count) * usable[(Math.floor(n / count) + seed) % usable.length]! + 101 * seed) % count;
}
