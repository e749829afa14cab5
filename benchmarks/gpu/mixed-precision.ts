/**
 * A training step of a transformer block through WebGPU, in float32 and in mixed_float16: time in turns, and what waits for backward.
 * One JSON a stage.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/mixed-precision.ts [width, 1024] [tokens, 512] [batch, 8] [layers, 2]
 */
import { useBackend } from '@leantune/backends';
import { finetune, measure } from '@leantune/core';
import { mixedPrecision } from '@leantune/mixed-precision';
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';

const [width = 1024, tokens = 512, batch = 8, layers = 2] = process.argv.slice(2).map(Number);
const WARM_UP = 3;
const ROUNDS = 10;

await useBackend('webgpu');
const config = {
  ...{ model_type: 'bert', vocab_size: 1000, hidden_size: width, num_hidden_layers: layers, num_attention_heads: Math.max(1, width / 64) },
  ...{ intermediate_size: 4 * width, max_position_embeddings: tokens, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
};
const x = [tf.randomUniform([batch, tokens], 0, 1000, 'int32', 1), tf.ones([batch, tokens], 'int32')];
const y = tf.oneHot(tf.mod(tf.range(0, batch, 1, 'int32'), tf.scalar(2, 'int32')) as tf.Tensor1D, 2);

const runs = (['float32', 'mixed_float16'] as const).map((precision) => {
  const model = fromConfig(config, { task: 'sequence-classification', labels: 2, seed: 1 });
  const tuned = finetune(model, precision === 'float32' ? [] : mixedPrecision(), { trainable: /encoder\.layer|classifier/ });
  const optimizer = tuned.optimizer(tf.train.sgd(1e-3));
  const loss = () => tf.tidy(() => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar);
  const step = (): number => {
    const start = performance.now();
    const value = tuned.minimize(loss, optimizer); // reads the loss: the device has done forward and backward by then
    const [weight] = tuned.variables;
    tf.tidy(() => tf.sum(weight!).dataSync()); // and the update
    value.dispose();
    return performance.now() - start;
  };
  return { precision, step, times: [] as number[] };
});

for (const { precision, step } of runs) {
  const { memory } = measure(() => void step());
  console.log(JSON.stringify({ stage: 'memory', precision, keptBytes: memory.keptBytes, peakBytes: memory.peakBytes }));
}
for (let round = 0; round < WARM_UP + ROUNDS; round++)
  for (const { step, times } of runs) {
    const ms = step();
    if (round >= WARM_UP) times.push(ms);
  }
const median = (times: number[]): number => times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)]!;
const [full, half] = runs.map(({ times }) => median(times)) as [number, number];
console.log(
  JSON.stringify({ stage: 'time', shape: { width, tokens, batch, layers }, float32: full, mixed_float16: half, ratio: half / full }),
);
process.exit(0);
