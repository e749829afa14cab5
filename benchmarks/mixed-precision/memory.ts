/**
 * What waits for backward, and the peak above the weights, of a full training step in float32 and in mixed precision.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/mixed-precision/memory.ts [--write]
 *
 * MobileNetV2 and ResNet-50 at 96 pixels with batch norm in training mode, and an encoder of MiniLM's shape. Bytes are exact, and the
 * same in every run. On wasm: the other backends keep the same, two bytes a value.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import { finetune, measure, type Technique } from '@leantune/core';
import { mixedPrecision } from '@leantune/mixed-precision';
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, metrics } from '@tensorflow/tfjs-layers';
import { makeSubject } from '../models/subject.ts';

export interface MemoryRow {
  readonly model: string;
  readonly precision: string;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
}

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });

interface Ready {
  readonly model: LayersModel;
  readonly loss: () => tf.Scalar;
}

const models: { readonly [name: string]: () => Ready } = {
  MobileNetV2: () => images('mobilenet-v2'),
  'ResNet-50': () => images('resnet-50'),
  'MiniLM encoder': encoder,
};
const precisions: { readonly [name: string]: () => Technique[] } = {
  float32: () => [],
  mixed_float16: () => [mixedPrecision()],
  mixed_bfloat16: () => [mixedPrecision({ policy: 'mixed_bfloat16' })],
};

const { name: backend } = await useBackend('wasm');
const rows: MemoryRow[] = [];
for (const [name, make] of Object.entries(models)) {
  const { model, loss } = make();
  for (const [precision, techniques] of Object.entries(precisions)) {
    const tuned = finetune(model, techniques());
    const { memory } = measure(() => tf.dispose(Object.values(tuned.valueAndGrads(loss))), { model });
    rows.push({ model: name, precision, keptBytes: memory.keptBytes, peakAboveWeights: memory.peakAboveWeights });
    console.log(JSON.stringify(rows.at(-1)));
    tuned.dispose();
  }
  model.dispose();
}
if (values.write) {
  const file = new URL('results/memory.json', import.meta.url);
  writeFileSync(file, `${JSON.stringify({ backend, date: new Date().toISOString(), rows }, null, 2)}\n`);
}

function images(name: 'mobilenet-v2' | 'resnet-50'): Ready {
  const subject = makeSubject({ name, size: 96, width: 1, classes: 10 } as never, 4, 1);
  if (subject.kind !== 'layers') throw new Error(`[memory] ${name} is a LayersModel`);
  const { model, x, y } = subject;
  const loss = () =>
    tf.tidy(() => tf.mean(metrics.categoricalCrossentropy(y, model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar);
  return { model, loss };
}

function encoder(): Ready {
  const [batch, tokens, classes, vocabulary] = [8, 128, 6, 1000];
  const config = {
    ...{ model_type: 'bert', vocab_size: vocabulary, hidden_size: 384, num_hidden_layers: 6, num_attention_heads: 12 },
    ...{ intermediate_size: 1536, max_position_embeddings: tokens, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
  };
  const model = fromConfig(config, { task: 'sequence-classification', labels: classes });
  const ids = tf.randomUniform([batch, tokens], 0, vocabulary, 'int32', 5);
  const mask = tf.ones([batch, tokens], 'int32');
  const y = tf.oneHot(tf.mod(tf.range(0, batch, 1, 'int32'), tf.scalar(classes, 'int32')) as tf.Tensor1D, classes);
  const loss = () =>
    tf.tidy(() => tf.losses.softmaxCrossEntropy(y, model.apply([ids, mask], { training: true }) as tf.Tensor) as tf.Scalar);
  return { model, loss };
}
