/**
 * What a training step of ResNet-50 holds in each mode of its batch norms: stock tfjs, and LeanTune.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/convbn/modes.ts [--size 96] [--batch 16] [--steps 1] [--write]
 *
 * Bytes are exact and the same in every run; `--write` puts them into results/. Stock tfjs has no Eval mode: here each batch norm is
 * called for inference by hand. Times are processor time, one mode after the other in turns; say little on a busy machine.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import { deployMode, evalMode, trainMode, tuneMode } from '@leantune/convbn';
import { finetune, measure, type Technique, type Tuned } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { makeSubject } from '../models/subject.ts';

const { values } = parseArgs({
  options: {
    size: { type: 'string', default: '96' },
    batch: { type: 'string', default: '16' },
    width: { type: 'string', default: '1' },
    steps: { type: 'string', default: '1' },
    write: { type: 'boolean', default: false },
  },
});
const [size, batch, width, steps] = [values.size, values.batch, values.width, values.steps].map(Number) as [number, number, number, number];

interface Row {
  readonly mode: string;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
  readonly loss: number;
  readonly cpuMilliseconds: number;
}

type Ready = (model: LayersModel) => { readonly wrap: (optimizer: tf.Optimizer) => tf.Optimizer; leave(): void };

const plain: ReturnType<Ready> = { wrap: (optimizer) => optimizer, leave() {} };

const lean =
  (technique: () => Technique, checkpoint = false): Ready =>
  (model) => {
    const tuned: Tuned = finetune(model, technique(), { checkpoint });
    return { wrap: (optimizer) => tuned.optimizer(optimizer), leave: () => tuned.dispose() };
  };

/** Runs every batch norm of a model for inference, which stock tfjs cannot be told to. */
const frozen: Ready = (model) => {
  const norms = model.layers.filter((layer) => layer.getClassName() === 'BatchNormalization');
  for (const norm of norms) {
    const { call } = norm;
    norm.call = (inputs, kwargs) => call.call(norm, inputs, { ...kwargs, training: false });
  }
  return { ...plain, leave: () => norms.forEach((norm) => void delete (norm as { call?: unknown }).call) };
};

const modes: { readonly [mode: string]: Ready } = {
  'stock tfjs, Train': () => plain,
  'stock tfjs, Eval': frozen,
  Train: lean(trainMode),
  Eval: lean(evalMode),
  Tune: lean(tuneMode),
  'Tune + checkpoint': lean(tuneMode, true),
  Deploy: lean(deployMode),
};

await useBackend('wasm');
const rows: Row[] = [];
for (const [mode, ready] of Object.entries(modes)) {
  const row = await run(mode, ready);
  rows.push(row);
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`.padStart(10);
  console.log(
    `${mode.padEnd(20)} kept ${mb(row.keptBytes)}  peak ${mb(row.peakAboveWeights)}  loss ${row.loss.toFixed(6)}  ${row.cpuMilliseconds.toFixed(0)} ms`,
  );
}
const kept = (mode: string) => rows.find((row) => row.mode === mode)!.keptBytes;
const ratio = {
  tuneToEval: kept('Tune') / kept('Eval'),
  tuneToStockEval: kept('Tune') / kept('stock tfjs, Eval'),
  tuneToStockTrain: kept('Tune') / kept('stock tfjs, Train'),
};
console.log(ratio);
if (values.write) {
  const result = { model: { name: 'resnet-50', size, width }, batch, backend: 'wasm', date: new Date().toISOString(), rows, ratio };
  writeFileSync(new URL('results/modes.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}

/** A measured step, then timed ones, on a new copy of the model. */
async function run(mode: string, ready: Ready): Promise<Row> {
  const subject = makeSubject({ name: 'resnet-50', size, width, classes: 10 }, batch, 17);
  if (subject.kind !== 'layers') throw new Error('[benchmarks] expected a LayersModel');
  const { model, x, y } = subject;
  const { wrap, leave } = ready(model);
  model.compile({ optimizer: wrap(tf.train.sgd(1e-4)), loss: 'categoricalCrossentropy' });
  const { result: loss, memory } = await measure(() => model.trainOnBatch(x, y) as Promise<number>);
  const before = process.cpuUsage();
  for (let i = 0; i < steps; i++) await model.trainOnBatch(x, y);
  const { user, system } = process.cpuUsage(before);
  leave();
  subject.dispose();
  return {
    mode,
    keptBytes: memory.keptBytes,
    peakAboveWeights: memory.peakAboveWeights,
    loss,
    cpuMilliseconds: (user + system) / 1e3 / Math.max(1, steps),
  };
}
