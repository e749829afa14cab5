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
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, metrics } from '@tensorflow/tfjs-layers';
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
interface Ready {
  readonly stock: () => { readonly value: tf.Scalar; readonly grads: tf.NamedTensorMap };
  readonly model: LayersModel;
  readonly head: string;
  readonly loss: () => tf.Scalar;
}

const encoderShape = { layers: 6, width: 384, heads: 12, inner: 1536, vocabulary: 1000, tokens: 128, classes: 6 } as const;

function encoder(): Ready {
  const { layers, width, heads, inner, vocabulary, tokens, classes } = encoderShape;
  const config = {
    ...{ model_type: 'bert', vocab_size: vocabulary, hidden_size: width, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ intermediate_size: inner, max_position_embeddings: tokens, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
  };
  const model = fromConfig(config, { task: 'sequence-classification', labels: classes });
  const ids = tf.randomUniform([batch, tokens], 0, vocabulary, 'int32', 5);
  const mask = tf.ones([batch, tokens], 'int32');
  const y = tf.oneHot(tf.mod(tf.range(0, batch, 1, 'int32'), tf.scalar(classes, 'int32')) as tf.Tensor1D, classes);
  const loss = () =>
    tf.tidy(() => tf.losses.softmaxCrossEntropy(y, model.apply([ids, mask], { training: true }) as tf.Tensor) as tf.Scalar);
  const stock = () => {
    const subject = makeSubject({ name: 'encoder', ...encoderShape }, batch, 1);
    if (subject.kind !== 'function') throw new Error('[memory] the encoder is a function');
    return tf.variableGrads(
      () => subject.loss(tidied),
      subject.weights.map(({ variable }) => variable),
    );
  };
  return { stock, model, head: 'classifier', loss };
}

function resNet(): Ready {
  const subject = makeSubject({ name: 'resnet-50', size: 96, width: 1, classes: 10 }, batch, 1);
  if (subject.kind !== 'layers') throw new Error('[memory] ResNet-50 is a LayersModel');
  const { model, x, y } = subject;
  const loss = () =>
    tf.tidy(() => tf.mean(metrics.categoricalCrossentropy(y, model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar);
  return { stock: () => tf.variableGrads(loss), model, head: 'head', loss };
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
