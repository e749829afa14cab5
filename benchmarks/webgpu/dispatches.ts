/**
 * What a training step asks of the GPU, in float32 and in mixed precision: kernels by name, and the bytes of the buffers that they bind.
 * Both are counts, the same on every adapter that takes the same plans; lavapipe takes those of a GPU here.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/webgpu/dispatches.ts [--width 64] [--tokens 16] [--batch 2] [--layers 1]
 *     [--cpu] [--all] [--write]
 *
 * `--cpu` takes the plans of an adapter that runs on the CPU, `--all` lists every kernel.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import type { WebGPUBackend } from '@leantune/backends/webgpu';
import { adamW, finetune } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { encoderWithLoss } from '../models/losses.ts';
import { precisions } from '../tasks/precisions.ts';
import { countKernels, type KernelCount } from './count-kernels.ts';

const { values } = parseArgs({
  options: {
    width: { type: 'string', default: '64' },
    tokens: { type: 'string', default: '16' },
    batch: { type: 'string', default: '2' },
    layers: { type: 'string', default: '1' },
    cpu: { type: 'boolean', default: false },
    all: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
});
const [width, tokens, batch, layers] = [values.width, values.tokens, values.batch, values.layers].map(Number) as [
  number,
  number,
  number,
  number,
];

await useBackend('webgpu');
if (!values.cpu) Object.defineProperty((tf.backend() as WebGPUBackend).device, 'adapterInfo', { value: { description: 'a GPU' } });
const counted = countKernels(tf.backend() as WebGPUBackend);
const shape = { layers, width, heads: 4, inner: 4 * width, vocabulary: 100, tokens, classes: 2 };

const steps: { [precision: string]: KernelCount } = {};
for (const [precision, techniques] of Object.entries(precisions)) {
  const { model, loss } = encoderWithLoss(batch, shape);
  const tuned = finetune(model, techniques(), { trainable: /encoder\.layer|classifier/ });
  const optimizer = tuned.optimizer(adamW({ learningRate: 1e-3 }));
  const step = () => tf.dispose(tuned.minimize(loss, optimizer));
  for (let i = 0; i < 2; i++) step(); // weights and moments go to the GPU
  steps[precision] = counted(step);
  tuned.dispose();
  optimizer.dispose();
  model.dispose();
}
const names = Object.keys(Object.assign({}, ...Object.values(steps).map(({ kernels }) => kernels)));
const differ = names.filter((name) => values.all || new Set(Object.values(steps).map(({ kernels }) => kernels[name] ?? 0)).size > 1);
console.table(Object.fromEntries(Object.entries(steps).map(([precision, { dispatches, bytes }]) => [precision, { dispatches, bytes }])));
console.table(
  Object.fromEntries(
    differ.sort().map((name) => [name, Object.fromEntries(Object.entries(steps).map(([p, { kernels }]) => [p, kernels[name] ?? 0]))]),
  ),
);
if (values.write) {
  const command = 'npx tsx --conditions=@leantune/source benchmarks/webgpu/dispatches.ts --write';
  const result = { command, date: new Date().toISOString(), shape: { width, tokens, batch, layers }, steps };
  writeFileSync(new URL('results/dispatches.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}
process.exit(0);
