/**
 * Time of a training step with the rest waiting in codes, as a ratio to that of the same step on LeanTune's tape without them: biases
 * train in one pair, all weights in the other. In turns in one process.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/s2a/time.ts [--model encoder|resnet-50] [--backend tensorflow] [--batch 16] [--rounds 8] [--write]
 *
 * Processor time of the whole process, all its threads, which other programs on the machine hardly change; `--clock wall` for a device
 * of its own. Ratios are medians of those in one round; one round more, the first, warms up. Each side trains its own copy of the model.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type BackendName, useBackend } from '@leantune/backends';
import { finetune, type Technique } from '@leantune/core';
import { biasTuning, fourBit } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs-core';
import { encoderWithLoss, imagesWithLoss, type ModelWithLoss } from '../models/losses.ts';
import { ratiosTo } from '../ratios.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'encoder' },
    backend: { type: 'string', default: 'tensorflow' },
    batch: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '8' },
    clock: { type: 'string', default: 'processor' },
    write: { type: 'boolean', default: false },
  },
});
const [batch, rounds] = [Number(values.batch), Number(values.rounds)];

export interface TimeResult {
  readonly model: string;
  readonly batch: number;
  readonly backend: string;
  readonly machine: { readonly cpu: string; readonly cores: number };
  readonly date: string;
  readonly clock: string;
  /** Of each round. */
  readonly milliseconds: { readonly [what: string]: readonly number[] };
}

const pairs: { readonly [what: string]: () => Technique[] } = { biases: () => [biasTuning()], full: () => [] };

const { name: backend } = await useBackend(values.backend as BackendName);
const runs = Object.entries(pairs).flatMap(([what, make]) => [prepare(what, make()), prepare(`${what}, 4 bits`, [...make(), fourBit()])]);
for (let round = 0; round <= rounds; round++)
  for (const run of runs) {
    const ms = await run.step();
    if (round > 0) run.milliseconds.push(ms);
  }
const milliseconds = Object.fromEntries(runs.map((run) => [run.what, run.milliseconds.map(Math.round)]));
for (const what of Object.keys(pairs)) console.log(values.model, backend, ratiosTo(what, milliseconds)[`${what}, 4 bits`]);
if (values.write) {
  const machine = { cpu: cpus()[0]!.model, cores: cpus().length };
  const result: TimeResult = {
    model: values.model,
    batch,
    backend,
    machine,
    clock: values.clock,
    date: new Date().toISOString(),
    milliseconds,
  };
  writeFileSync(new URL(`results/time-${values.model}-${backend}.json`, import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}

function prepare(what: string, techniques: readonly Technique[]) {
  const { model, loss }: ModelWithLoss = values.model === 'encoder' ? encoderWithLoss(batch) : imagesWithLoss('resnet-50', batch);
  const tuned = finetune(
    model,
    techniques,
    what.startsWith('full') ? {} : { trainable: values.model === 'encoder' ? 'classifier' : 'head' },
  );
  const optimizer = tuned.optimizer(tf.train.sgd(1e-5));
  const processor = () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1000;
  };
  const clock = values.clock === 'wall' ? () => performance.now() : processor;
  return {
    what,
    milliseconds: [] as number[],
    async step(): Promise<number> {
      const start = clock();
      const value = tuned.minimize(loss, optimizer);
      await value.data();
      await (tuned.variables.at(-1) as tf.Variable).data();
      value.dispose();
      return clock() - start;
    },
  };
}
