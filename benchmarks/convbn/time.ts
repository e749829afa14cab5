/**
 * Time of a training step of ResNet-50 in Eval, Tune and Deploy mode, in turns in one process. Deploy mode has neither norms nor
 * folding: what a step costs at least.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/convbn/time.ts [--backend wasm] [--size 96] [--batch 16] [--rounds 8] [--clock wall] [--write]
 *
 * Processor time of the whole process, which other programs on the machine hardly change; `--clock wall` for what runs on a device.
 * The ratio of a mode is the median of those to Eval mode in the same round. One round more, the first, warms up. Each mode trains its own copy of the model, by SGD, which
 * has no state.
 */
import { writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import { type BackendName, useBackend } from '@leantune/backends';
import { deployMode, evalMode, tuneMode } from '@leantune/convbn';
import { finetune, type Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { makeSubject } from '../models/subject.ts';
import { ratiosTo } from '../ratios.ts';

const { values } = parseArgs({
  options: {
    backend: { type: 'string', default: 'wasm' },
    size: { type: 'string', default: '96' },
    batch: { type: 'string', default: '16' },
    rounds: { type: 'string', default: '8' },
    clock: { type: 'string', default: 'processor' },
    write: { type: 'boolean', default: false },
  },
});
const [size, batch, rounds] = [values.size, values.batch, values.rounds].map(Number) as [number, number, number];

export interface TimeResult {
  readonly model: { readonly name: string; readonly size: number };
  readonly batch: number;
  readonly backend: string;
  readonly machine: { readonly cpu: string; readonly cores: number };
  readonly date: string;
  readonly clock: string;
  /** Of each round. */
  readonly milliseconds: { readonly [mode: string]: readonly number[] };
}

const modes: readonly (() => Technique)[] = [evalMode, tuneMode, deployMode];

const { name: backend } = await useBackend(values.backend as BackendName);
const runs = modes.map((mode) => prepare(mode()));
for (let round = 0; round <= rounds; round++)
  for (const run of runs) {
    const ms = await run.step();
    if (round > 0) run.milliseconds.push(ms);
  }
console.log(backend, ratiosTo('evalMode', Object.fromEntries(runs.map((run) => [run.mode, run.milliseconds]))));
if (values.write) {
  const machine = { cpu: cpus()[0]!.model, cores: cpus().length };
  const milliseconds = Object.fromEntries(runs.map((run) => [run.mode, run.milliseconds.map(Math.round)]));
  const model = { name: 'resnet-50', size };
  const result: TimeResult = { model, batch, backend, machine, clock: values.clock, date: new Date().toISOString(), milliseconds };
  writeFileSync(new URL(`results/time-${backend}-${size}.json`, import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}

function now(): number {
  if (values.clock === 'wall') return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e3;
}

function prepare(technique: Technique): { mode: string; milliseconds: number[]; step(): Promise<number> } {
  const subject = makeSubject({ name: 'resnet-50', size, width: 1, classes: 10 }, batch, 17);
  if (subject.kind !== 'layers') throw new Error('[benchmarks] expected a LayersModel');
  const { model, x, y } = subject;
  const tuned = finetune(model, technique);
  model.compile({ optimizer: tuned.optimizer(tf.train.sgd(1e-6)), loss: 'categoricalCrossentropy' });
  return {
    mode: technique.name,
    milliseconds: [],
    async step() {
      const start = now();
      await model.trainOnBatch(x, y); // reads the loss, which waits for the device
      return now() - start;
    },
  };
}
