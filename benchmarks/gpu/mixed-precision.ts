/**
 * A training step of a transformer block through WebGPU, in float32 and in half precision: kernels, what waits for backward, and time in turns.
 * One JSON a row, printed and added to `--output` at once, so a run that is cut off leaves what it had.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/mixed-precision.ts [--width 1024] [--tokens 512] [--batch 8] [--layers 1]
 *     [--precisions float32,mixed_float16] [--rounds 10] [--seconds 40] [--output FILE]
 *
 * After `--seconds` it begins no second round, and says how many there were. `forwardRecordMs` is JavaScript's part of
 * the forward pass: what it takes until the loss can be asked for.
 */
import { appendFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import type { WebGPUBackend } from '@leantune/backends/webgpu';
import { finetune, measure, type Technique } from '@leantune/core';
import { mixedPrecision } from '@leantune/mixed-precision';
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { countKernels } from '../webgpu/count-kernels.ts';

const { values } = parseArgs({
  options: {
    width: { type: 'string', default: '1024' },
    tokens: { type: 'string', default: '512' },
    batch: { type: 'string', default: '8' },
    layers: { type: 'string', default: '1' },
    precisions: { type: 'string', default: 'float32,mixed_float16' },
    rounds: { type: 'string', default: '10' },
    seconds: { type: 'string', default: '40' },
    output: { type: 'string' },
  },
});
const number = (name: 'width' | 'tokens' | 'batch' | 'layers' | 'rounds' | 'seconds'): number => Number(values[name]);
const shape = { width: number('width'), tokens: number('tokens'), batch: number('batch'), layers: number('layers') };
const techniques: { readonly [precision: string]: () => Technique[] } = {
  float32: () => [],
  mixed_float16: () => [mixedPrecision()],
  mixed_bfloat16: () => [mixedPrecision({ policy: 'mixed_bfloat16' })],
};
const start = performance.now();
const secondsLeft = (): number => number('seconds') - (performance.now() - start) / 1000;

await useBackend('webgpu');
const counted = countKernels(tf.backend() as WebGPUBackend);
const config = {
  ...{ model_type: 'bert', vocab_size: 1000, hidden_size: shape.width, num_hidden_layers: shape.layers },
  ...{ num_attention_heads: Math.max(1, shape.width / 64), intermediate_size: 4 * shape.width, max_position_embeddings: shape.tokens },
  ...{ type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
};
const x = [tf.randomUniform([shape.batch, shape.tokens], 0, 1000, 'int32', 1), tf.ones([shape.batch, shape.tokens], 'int32')];
const y = tf.oneHot(tf.mod(tf.range(0, shape.batch, 1, 'int32'), tf.scalar(2, 'int32')) as tf.Tensor1D, 2);

const runs = values.precisions.split(',').map((precision) => {
  const model = fromConfig(config, { task: 'sequence-classification', labels: 2, seed: 1 });
  const tuned = finetune(model, techniques[precision]!(), { trainable: /encoder\.layer|classifier/ });
  const optimizer = tuned.optimizer(tf.train.sgd(1e-3));
  const times = { ms: [] as number[], recordMs: [] as number[] };
  let recorded = 0;
  const loss = () => {
    const value = tf.tidy(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar);
    recorded = performance.now();
    return value;
  };
  const step = (): void => {
    const begin = performance.now();
    const value = tuned.minimize(loss, optimizer); // reads the loss: the device has done forward and backward by then
    tf.tidy(() => tf.sum(tuned.variables[0]!).dataSync()); // and the update
    value.dispose();
    times.ms.push(performance.now() - begin);
    times.recordMs.push(recorded - begin);
  };
  return { precision, step, times };
});

for (const { precision, step, times } of runs) {
  const first = performance.now();
  step(); // compiles
  const compileMs = Math.round(performance.now() - first);
  const { memory } = measure(step);
  const { dispatches, bytes } = counted(step);
  row({ stage: 'step', precision, compileMs, dispatches, boundBytes: bytes, keptBytes: memory.keptBytes, peakBytes: memory.peakBytes });
  times.ms.length = times.recordMs.length = 0;
}
let rounds = 0;
while (rounds === 0 || (rounds < number('rounds') && secondsLeft() > 0)) {
  for (const { step } of runs) step();
  rounds++;
}
const median = (times: number[]): number =>
  Number((times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN).toFixed(2));
for (const { precision, times } of runs)
  row({
    stage: 'time',
    precision,
    rounds,
    ms: median(times.ms),
    forwardRecordMs: median(times.recordMs),
    ratio: median(times.ms) / median(runs[0]!.times.ms),
  });
process.exit(0);

function row(value: object): void {
  const line = JSON.stringify({ ...value, shape, secondsLeft: Math.round(secondsLeft()) });
  console.log(line);
  if (values.output) appendFileSync(values.output, `${line}\n`);
}
