/**
 * What a training step of ResNet-50 holds in each mode of its batch norms: stock tfjs, and LeanTune.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/convbn/modes.ts [--size 96] [--batch 16] [--lean] [--write]
 *
 * Bytes are exact and the same in every run; `--write` puts them into results/. Stock tfjs has no Eval mode: here each batch norm is
 * called for inference by hand. `--lean` leaves stock tfjs out, which at 224 px does not fit into the 4 GiB of wasm.
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
    lean: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const [size, batch, width] = [values.size, values.batch, values.width].map(Number) as [number, number, number];

export interface ModesResult {
  readonly model: { readonly name: string; readonly size: number; readonly width: number };
  readonly batch: number;
  readonly backend: string;
  readonly date: string;
  readonly rows: readonly Row[];
}

interface Row {
  readonly mode: string;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
  readonly loss: number;
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
  if (values.lean && mode.startsWith('stock')) continue;
  const row = await run(mode, ready);
  rows.push(row);
  const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`.padStart(10);
  console.log(`${mode.padEnd(20)} kept ${mb(row.keptBytes)}  peak ${mb(row.peakAboveWeights)}  loss ${row.loss.toFixed(6)}`);
}
if (values.write) {
  const result: ModesResult = { model: { name: 'resnet-50', size, width }, batch, backend: 'wasm', date: new Date().toISOString(), rows };
  writeFileSync(new URL(`results/modes-${size}.json`, import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}

/** A measured step on a new copy of the model. */
async function run(mode: string, ready: Ready): Promise<Row> {
  const subject = makeSubject({ name: 'resnet-50', size, width, classes: 10 }, batch, 17);
  if (subject.kind !== 'layers') throw new Error('[benchmarks] expected a LayersModel');
  const { model, x, y } = subject;
  const { wrap, leave } = ready(model);
  model.compile({ optimizer: wrap(tf.train.sgd(1e-4)), loss: 'categoricalCrossentropy' });
  const { result: loss, memory } = await measure(() => model.trainOnBatch(x, y) as Promise<number>);
  leave();
  subject.dispose();
  return { mode, keptBytes: memory.keptBytes, peakAboveWeights: memory.peakAboveWeights, loss };
}
