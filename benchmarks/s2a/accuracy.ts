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
import { biasTuning, fourBit, liteSideBranch, lowRankPrompt } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';
import { BATCH, fineTune, type Mode } from '../tasks/fine-tune.ts';
import { tasks } from './tasks.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'minilm' },
    backend: { type: 'string', default: 'tensorflow' },
    seeds: { type: 'string', default: '3' },
    write: { type: 'boolean', default: false },
  },
});
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
  const runs = seeds.map((seed) => fineTune(task, first, mode, what === 'full' ? undefined : task.head, seed));
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
      `${JSON.stringify({ model: values.model, data: task.data, batch: BATCH, epochs: task.epochs, backend: tf.getBackend(), parameters: task.model.countParams(), rows }, undefined, 2)}\n`,
    );
}
