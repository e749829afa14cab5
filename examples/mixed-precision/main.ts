/**
 * Why float16 needs loss scaling: a small net learns from photos with a loss that is a millionth of the usual one, as the terms of
 * a large sum are. Its gradients lie below float16's smallest number. Unscaled they are zero, and nothing is learnt; scaled it learns
 * as in float32, in half the memory for backward.
 *
 *   npm start --workspace examples/mixed-precision              two minutes on 2 cores, and 20 MB to fetch the first time
 *   npm start --workspace examples/mixed-precision -- --quick   half a minute: fewer photos
 *
 * Quick: of 256 unseen photos 32.0 % are named right by float32, 7.8 % by float16 without scaling, 31.6 % with it; of a step 1.32 MB wait for backward in
 * float32, 0.66 in halves.
 */
import { cifar10 } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { finetune, measure, type Technique } from '@leantune/core';
import { dynamicLossScale, mixedPrecision } from '@leantune/mixed-precision';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const [batchSize, epochs, small] = [32, quick ? 4 : 8, 2 ** -26];

await useBackend('wasm');
const { train, test } = await cifar10({ train: quick ? 512 : 4000, test: quick ? 256 : 1000, size: 32 });

const runs: { readonly [name: string]: () => Technique[] } = {
  float32: () => [],
  'float16 without scaling': () => [mixedPrecision({ lossScale: 'none' })],
  'float16 with scaling': () => [mixedPrecision({ lossScale: dynamicLossScale({ initial: 2 ** 30, interval: 50 }) })],
  bfloat16: () => [mixedPrecision({ policy: 'mixed_bfloat16' })],
};

console.log('| precision | accuracy before | accuracy after | kept for backward |\n|---|---:|---:|---:|');
for (const [name, techniques] of Object.entries(runs)) {
  const model = net();
  const tuned = finetune(model, techniques());
  const before = accuracy(model);
  // Adam's epsilon would outweigh gradients as small as these; it is scaled like them.
  const optimizer = tuned.optimizer(tf.train.adam(1e-3, 0.9, 0.999, 1e-8 * small));
  const { memory } = measure(() => step(0));
  for (let epoch = 0; epoch < epochs; epoch++) for (let at = 0; at < train.labels.shape[0]!; at += batchSize) step(at);
  console.log(`| ${name} | ${before} | ${accuracy(model)} | ${(memory.keptBytes / 1e6).toFixed(2)} MB |`);
  tuned.dispose();
  optimizer.dispose();
  model.dispose();

  function step(at: number): void {
    const size = Math.min(batchSize, train.labels.shape[0]! - at);
    const loss = () =>
      tf.tidy(() => {
        const [x, y] = [train.images, train.labels].map((t) => t.slice([at], [size])) as [tf.Tensor, tf.Tensor];
        const losses = tf.metrics.categoricalCrossentropy(y, model.apply(x, { training: true }) as tf.Tensor);
        return tf.mul(tf.mean(losses), small) as tf.Scalar;
      });
    tf.dispose(tuned.minimize(loss, optimizer));
  }
}

function net(): tf.LayersModel {
  const seeded = (seed: number) => ({ kernelInitializer: tf.initializers.heNormal({ seed }) });
  const conv = (filters: number, seed: number, first?: { inputShape: number[] }) =>
    tf.layers.conv2d({ ...first, filters, kernelSize: 3, strides: 2, padding: 'same', activation: 'relu', ...seeded(seed) });
  return tf.sequential({
    layers: [
      conv(16, 1, { inputShape: [32, 32, 3] }),
      conv(32, 2),
      conv(64, 3),
      tf.layers.flatten(),
      tf.layers.dense({ units: 10, activation: 'softmax', ...seeded(4) }),
    ],
  });
}

function accuracy(model: tf.LayersModel): string {
  const right = tf.tidy(() => (model.predict(test.images) as tf.Tensor).argMax(1).equal(test.labels.argMax(1)).mean().dataSync()[0]!);
  return `${(100 * right).toFixed(1)} %`;
}
