/**
 * Trains a GraphModel, which tfjs alone can only run: the MobileNetV3 of an object detector learns to tell sketches apart.
 *
 *   npm start --workspace examples/graph-model              about a minute and a half on 2 cores, and 42 MB to fetch the first time
 *   npm start --workspace examples/graph-model -- --quick   some 15 seconds, with fewer and smaller sketches
 *
 * Validation accuracy goes from 11.3 % (chance is 10) to 69.3 % (quick: from 8.8 % to 48.8 %).
 */
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { centerNet, centerNetFeatures, type ImageSet, progressBar, quickDraw } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { adamW, finetune, measure, type Technique, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const started = performance.now();
const classes = ['airplane', 'bicycle', 'bus', 'car', 'helicopter', 'motorbike', 'sailboat', 'submarine', 'train', 'truck'];
const size = quick ? 64 : 96; // pixels
const batchSize = 16;

await useBackend('wasm');
const { train, test } = await quickDraw({ classes, size, train: quick ? 200 : 700, test: quick ? 80 : 300 });
const detector = await centerNet({ size });

// A technique is a plain object; this one brings a head. It trains, is saved and leaves with the rest.
const kernel = tf.variable(tf.randomNormal([480, classes.length], 0, 0.02, 'float32', 1), true, 'kernel');
const bias = tf.variable(tf.zeros([classes.length]), true, 'bias');
const head: Technique = {
  name: 'head',
  options: {},
  attach: () => ({ variables: [kernel, bias], detach: () => tf.dispose([kernel, bias]) }),
};

// In the file its weights are constants. Those of the layers selected here become variables.
const tuned = finetune(detector, [head], { trainable: /MobilenetV3|extern1/ });
console.log(String(tuned.summary()));

const epochs = 6;
const steps = Math.ceil(train.images.shape[0] / batchSize);
const schedule = warmupCosine({ peak: 1e-4, warmupSteps: steps, steps: epochs * steps });
const optimizer = tuned.optimizer(adamW(), { schedule, clipNorm: 1 });
console.log(`Validation accuracy before: ${accuracy(test)}`);

for (let epoch = 1; epoch <= epochs; epoch++) {
  const bar = progressBar(`Epoch ${epoch} of ${epochs}`, steps);
  for (let step = 0; step < steps; step++) {
    const cost = tuned.minimize(() => loss(step), optimizer);
    bar.update(step + 1, `loss ${cost.dataSync()[0]!.toFixed(3)}`);
    cost.dispose();
  }
  bar.stop();
}
console.log(`Validation accuracy after: ${accuracy(test)}`);

const { memory } = measure(() => tuned.minimize(() => loss(0), optimizer).dispose(), { model: detector });
console.log(`Memory of a training step:\n${memory}`);

const output = new URL('output/', import.meta.url);
await mkdir(output, { recursive: true });
await tuned.save(`file://${fileURLToPath(new URL('adapter', output))}`);
console.log(`Done in ${((performance.now() - started) / 1000).toFixed(0)} s.`);

/** Images [n, size, size, 3] in [-1, 1] -> logits [n, classes]. */
function logits(images: tf.Tensor4D): tf.Tensor2D {
  return tf.tidy(() => {
    const features = detector.execute(images.add(1).mul(127.5), centerNetFeatures) as tf.Tensor4D; // [n, size/32, size/32, 480]
    return tf.matMul(features.mean([1, 2]) as tf.Tensor2D, kernel as tf.Tensor as tf.Tensor2D).add(bias);
  });
}

function loss(step: number): tf.Scalar {
  return tf.tidy(() => {
    const { images, labels } = slice(train, step * batchSize);
    return tf.losses.softmaxCrossEntropy(labels, logits(images));
  });
}

function slice({ images, labels }: ImageSet, from: number): ImageSet {
  const count = Math.min(batchSize, images.shape[0] - from);
  return { images: images.slice([from], [count]), labels: labels.slice([from], [count]) };
}

function accuracy(set: ImageSet): string {
  let right = 0;
  for (let from = 0; from < set.images.shape[0]; from += batchSize) {
    right += tf.tidy(() => {
      const { images, labels } = slice(set, from);
      return logits(images).argMax(1).equal(labels.argMax(1)).sum().dataSync()[0]!;
    });
  }
  return `${((100 * right) / set.images.shape[0]).toFixed(1)} %`;
}
