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
import * as tf from '@tensorflow/tfjs-core';
import { encoderWithLoss, imagesWithLoss, type ModelWithLoss } from '../models/losses.ts';

export interface MemoryRow {
  readonly model: string;
  readonly precision: string;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
}

const { values } = parseArgs({ options: { write: { type: 'boolean', default: false } } });

const models: { readonly [name: string]: () => ModelWithLoss } = {
  MobileNetV2: () => imagesWithLoss('mobilenet-v2', 4),
  'ResNet-50': () => imagesWithLoss('resnet-50', 4),
  'MiniLM encoder': () => encoderWithLoss(8),
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
