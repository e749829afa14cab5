/**
 * Fine-tunes ResNet-50 with its ImageNet weights on photos, all of it, once with its batch norms in Eval mode and once in Tune mode.
 *
 *   npm start --workspace examples/resnet-50              about three minutes on 2 cores, and 234 MB to fetch the first time
 *   npm start --workspace examples/resnet-50 -- --quick   some 30 seconds, with fewer and smaller photos
 *
 * Quick: the losses of both modes are the same to three digits in every step. A step keeps 109.6 MB in Eval mode and 54.6 MB in Tune mode.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { cifar10, progressBar, resnet50, resnet50Input } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { evalMode, fold, tuneMode } from '@leantune/convbn';
import { adamW, finetune, type MemoryReport, measure, type Technique, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const started = performance.now();
const size = quick ? 64 : 96; // pixels
const batchSize = 16;
const epochs = quick ? 1 : 2;
const output = new URL('output/', import.meta.url);

await useBackend('wasm');
const photos = await cifar10({ size, train: quick ? 64 : 192, test: quick ? 32 : 96 });
const { labels } = photos.train;
const [images, testImages] = [photos.train.images, photos.test.images].map(resnet50Input) as [tf.Tensor4D, tf.Tensor4D];
photos.train.images.dispose();

const inEval = await train(evalMode());
inEval.model.dispose();
const inTune = await train(tuneMode());
console.log(`\nEval mode: ${inEval.accuracy} right after fine-tuning. Memory of a step:\n${inEval.memory}`);
console.log(`\nTune mode: ${inTune.accuracy} right after fine-tuning. Memory of a step:\n${inTune.memory}`);
console.log(`\nKept for backward: ${megabytes(inEval.memory.keptBytes)} in Eval mode, ${megabytes(inTune.memory.keptBytes)} in Tune mode.`);

// For inference and for stock tfjs: a copy without batch norms.
const exported = fold(inTune.model);
const apart = difference(inTune.model.predict(testImages) as tf.Tensor, exported.predict(testImages) as tf.Tensor);
console.log(
  `Folded for export: ${inTune.model.countParams()} parameters are ${exported.countParams()}, probabilities differ by at most ${apart}.`,
);

await mkdir(output, { recursive: true });
const page = fileURLToPath(new URL('memory.html', output));
const title = 'A training step of ResNet-50';
await writeFile(page, inTune.memory.toHTML({ title, compare: inEval.memory, labels: ['Tune mode', 'Eval mode'] }));
console.log(`Memory of both steps, drawn: ${page}\nDone in ${((performance.now() - started) / 1000).toFixed(0)} s.`);

/** Fine-tunes a fresh copy, and measures one more step. */
async function train(technique: Technique): Promise<{ model: tf.LayersModel; accuracy: string; memory: MemoryReport }> {
  const model = await classifier();
  const tuned = finetune(model, technique);
  console.log(String(tuned.summary()));
  const steps = Math.ceil(images.shape[0] / batchSize);
  const schedule = warmupCosine({ peak: 1e-4, warmupSteps: Math.ceil(steps / 4), steps: epochs * steps });
  const optimizer = tuned.optimizer(adamW(), { schedule });
  model.compile({ optimizer, loss: 'categoricalCrossentropy' });
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const bar = progressBar(`Epoch ${epoch} of ${epochs} with ${technique.name}`, steps);
    const onBatchEnd = (batch: number, logs?: tf.Logs): void => bar.update(batch + 1, `loss ${logs?.['loss']?.toFixed(3)}`);
    await model.fit(images, labels, { batchSize, shuffle: false, verbose: 0, callbacks: { onBatchEnd } });
    bar.stop();
  }
  const accuracy = share(model);
  const [x, y] = [images.slice(0, batchSize), labels.slice(0, batchSize)];
  const { memory } = await measure(() => model.trainOnBatch(x, y), { model, optimizer });
  tuned.merge();
  optimizer.dispose();
  tf.dispose([x, y]);
  return { model, accuracy, memory };
}

/** Photos [n, size, size, 3] -> probabilities [n, 10]: the network below its 1000 classes, and a new head, the same each time. */
async function classifier(): Promise<tf.Sequential> {
  const whole = await resnet50({ size });
  tf.dispose(whole.layers.at(-1)!.getWeights()); // of its 1000 classes
  const base = tf.model({ inputs: whole.inputs, outputs: whole.layers.at(-2)!.output as tf.SymbolicTensor });
  const kernelInitializer = tf.initializers.randomNormal({ stddev: 0.02, seed: 1 });
  const head = tf.layers.dense({ name: 'photos', units: photos.classes.length, activation: 'softmax', kernelInitializer });
  return tf.sequential({ layers: [base, head] });
}

function share(model: tf.LayersModel): string {
  const right = tf.tidy(() => {
    const probabilities = model.predict(testImages, { batchSize }) as tf.Tensor;
    return probabilities.argMax(1).equal(photos.test.labels.argMax(1)).mean().dataSync()[0]!;
  });
  return `${(100 * right).toFixed(1)} %`;
}

function difference(a: tf.Tensor, b: tf.Tensor): string {
  return tf.tidy(() => a.sub(b).abs().max().dataSync()[0]!.toExponential(1));
}

function megabytes(bytes: number): string {
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
