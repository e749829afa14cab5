/**
 * What a training step holds: stock tfjs training everything, LeanTune training the same, its biases alone, and S2A.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/s2a/memory.ts [--model encoder|resnet-50] [--batch 16] [--lean] [--write]
 *
 * The encoder is MiniLM's shape: for stock tfjs as a user writes it (models/encoder.ts), for LeanTune as @leantune/transformers builds
 * it. Bytes are exact and the same in every run. `--lean` leaves stock tfjs out.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import { finetune, type MemoryReport, measure, type Technique } from '@leantune/core';
import { biasTuning, fourBit, liteSideBranch, lowRankPrompt } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs-core';
import { encoderWithLoss, imagesWithLoss, type ModelWithLoss, miniLMShape } from '../models/losses.ts';
import { makeSubject, tidied } from '../models/subject.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'encoder' },
    batch: { type: 'string', default: '16' },
    lean: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const batch = Number(values.batch);

interface Row {
  readonly what: string;
  /** Trained values, of all. */
  readonly trainable: number;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
}

/** A model with a batch: tfjs's own step on it, and a loss for ours. */
interface Ready extends ModelWithLoss {
  readonly stock: () => { readonly value: tf.Scalar; readonly grads: tf.NamedTensorMap };
  readonly head: string;
}

function encoder(): Ready {
  const stock = () => {
    const subject = makeSubject({ name: 'encoder', ...miniLMShape }, batch, 1);
    if (subject.kind !== 'function') throw new Error('[memory] the encoder is a function');
    return tf.variableGrads(
      () => subject.loss(tidied),
      subject.weights.map(({ variable }) => variable),
    );
  };
  return { ...encoderWithLoss(batch), stock, head: 'classifier' };
}

function resNet(): Ready {
  const ready = imagesWithLoss('resnet-50', batch);
  return { ...ready, stock: () => tf.variableGrads(ready.loss), head: 'head' };
}

const techniques: { readonly [what: string]: () => Technique[] } = {
  full: () => [],
  biases: () => [biasTuning()],
  prompt: () => [lowRankPrompt({ rank: 4 })],
  'side branch': () => [liteSideBranch({ width: 32 })],
  'S2A: biases, 4 bits': () => [biasTuning(), fourBit()],
  'S2A: biases, 8 bits': () => [biasTuning(), fourBit({ bits: 8 })],
};

function rowOf(what: string, trainable: number, { keptBytes, peakAboveWeights }: MemoryReport): Row {
  const row = { what, trainable, keptBytes, peakAboveWeights };
  console.log(JSON.stringify(row));
  return row;
}

await useBackend('wasm');
const ready = values.model === 'encoder' ? encoder() : resNet();
const rows: Row[] = [];
for (const [what, make] of Object.entries(techniques)) {
  const tuned = finetune(ready.model, make(), what === 'full' ? {} : { trainable: ready.head });
  const { trainable } = tuned.summary();
  const { memory } = measure(
    () => {
      const { value, grads } = tuned.valueAndGrads(ready.loss);
      tf.dispose([value, grads]);
    },
    { model: ready.model },
  );
  rows.push(rowOf(what, trainable, memory));
  tuned.dispose();
}
if (!values.lean) {
  const { memory } = measure(() => {
    const { value, grads } = ready.stock();
    tf.dispose([value, grads]);
  });
  rows.push(rowOf('stock tfjs, full', ready.model.countParams(), memory));
}
if (values.write) {
  const file = new URL(`results/${values.model}.json`, import.meta.url);
  writeFileSync(
    file,
    `${JSON.stringify({ model: values.model, batch, backend: tf.getBackend(), parameters: ready.model.countParams(), rows }, undefined, 2)}\n`,
  );
}
