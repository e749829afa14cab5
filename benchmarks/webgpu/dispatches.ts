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
import { adamW, finetune, type Technique } from '@leantune/core';
import { mixedPrecision } from '@leantune/mixed-precision';
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
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
const config = {
  ...{ model_type: 'bert', vocab_size: 100, hidden_size: width, num_hidden_layers: layers, num_attention_heads: 4 },
  ...{ intermediate_size: 4 * width, max_position_embeddings: tokens, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
};
const precisions: { readonly [name: string]: () => Technique[] } = {
  float32: () => [],
  mixed_float16: () => [mixedPrecision()],
  mixed_bfloat16: () => [mixedPrecision({ policy: 'mixed_bfloat16' })],
};

const steps: { [precision: string]: KernelCount } = {};
for (const [precision, techniques] of Object.entries(precisions)) {
  const model = fromConfig(config, { task: 'sequence-classification', labels: 2, seed: 1 });
  const tuned = finetune(model, techniques(), { trainable: /encoder\.layer|classifier/ });
  const optimizer = tuned.optimizer(adamW({ learningRate: 1e-3 }));
  const x = [tf.randomUniform([batch, tokens], 0, 100, 'int32', 1), tf.ones([batch, tokens], 'int32')];
  const y = tf.oneHot(tf.mod(tf.range(0, batch, 1, 'int32'), tf.scalar(2, 'int32')) as tf.Tensor1D, 2);
  const loss = () => tf.tidy(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar);
  const step = () => tf.dispose(tuned.minimize(loss, optimizer));
  for (let i = 0; i < 2; i++) step(); // weights and moments go to the GPU
  steps[precision] = counted(step);
  tuned.dispose();
  optimizer.dispose();
  model.dispose();
  tf.dispose([x, y]);
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
