import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { type ImageSet, mobilenetV2, progressBar, quickDraw } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { cosine, finetune, type MemoryReport, measure, restore } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const started = performance.now();
const classes = ['butterfly', 'cat', 'dog', 'duck', 'elephant', 'fish', 'giraffe', 'lion', 'owl', 'rabbit'];
const size = quick ? 64 : 96; // pixels
const batchSize = 16;
const rate = 3e-4;

const { name: backend } = await useBackend('wasm');
const { train, test } = await quickDraw({ classes, size, train: quick ? 96 : 700, test: quick ? 48 : 300 });

// A head of our own learns, as usual, from the features of the backbone as it comes.
const { backbone, head, model } = await classifier();
const features = backbone.predict(train.images, { batchSize }) as tf.Tensor;
head.compile({ optimizer: tf.train.adam(3e-3), loss: 'categoricalCrossentropy' });
await head.fit(features, train.labels, { epochs: 10, batchSize, shuffle: false, verbose: 0 });
const before = accuracy(model, test);

// Then all layers train. First one and the same step, once by tfjs and once by LeanTune.
const { model: stock } = await classifier();
stock.setWeights(model.getWeights());
const tuned = finetune(model);
console.log(`${tuned.summary()} on ${backend}`);
const adam = { stock: tf.train.adam(rate), lean: tf.train.adam(rate) };
const optimizer = tuned.optimizer(adam.lean, { schedule: cosine({ peak: rate, steps: quick ? 12 : 176 }) });
const stockStep = measure(() => adam.stock.minimize(() => loss(stock), true, stock.getWeights(true) as tf.Variable[]), { model: stock, optimizer: adam.stock });
const leanStep = measure(() => tuned.minimize(() => loss(model), optimizer), { model, optimizer: adam.lean });
compare(leanStep.memory, stockStep.memory);
const apart = difference(model.getWeights(), stock.getWeights());
console.log(`After that step the weights differ from those of tfjs by at most ${apart}.`);

// The rest of the training, with tfjs's own fit.
model.compile({ optimizer, loss: 'categoricalCrossentropy' });
const steps = Math.ceil(train.images.shape[0] / batchSize);
const mirrored = tf.image.flipLeftRight(train.images);
for (let epoch = 1; epoch <= (quick ? 2 : 4); epoch++) {
  const bar = progressBar(`Epoch ${epoch}`, steps);
  const onBatchEnd = (batch: number, logs?: tf.Logs): void => bar.update(batch + 1, `loss ${logs?.['loss']?.toFixed(3)}`);
  await model.fit(epoch % 2 ? train.images : mirrored, train.labels, { batchSize, shuffle: false, verbose: 0, callbacks: { onBatchEnd } });
  bar.stop();
}
console.log(`Validation accuracy: ${before} with the backbone as it came, ${accuracy(model, test)} after fine-tuning all of it.`);

// What was trained, saved and loaded into the model as it came.
const output = new URL('output/', import.meta.url);
await mkdir(output, { recursive: true });
const adapter = `file://${fileURLToPath(new URL('adapter', output))}`;
await tuned.save(adapter);
const { model: fresh } = await classifier();
await restore(fresh, adapter);
const outputs = [model, fresh].map((each) => each.predict(test.images, { batchSize }) as tf.Tensor);
console.log(`Saved to ${adapter} and loaded into a fresh model: outputs differ by at most ${difference([outputs[0]!], [outputs[1]!])}.`);

const page = fileURLToPath(new URL('quickstart-memory.html', output));
await writeFile(page, leanStep.memory.toHTML({ title: 'One training step of MobileNetV2', compare: stockStep.memory, labels: ['LeanTune', 'tfjs'] }));
console.log(`The memory of both steps, drawn: ${page}\nDone in ${((performance.now() - started) / 1000).toFixed(0)} s.`);

/** Images [n, size, size, 3] -> features [n, 1280] -> probabilities [n, classes]. The same weights each time. */
async function classifier(): Promise<{ backbone: tf.LayersModel; head: tf.Sequential; model: tf.Sequential }> {
  const backbone = await mobilenetV2({ size });
  const dense = tf.layers.dense({ name: 'sketches', inputShape: [1280], units: classes.length, activation: 'softmax', kernelInitializer: 'zeros' });
  const head = tf.sequential({ name: 'head', layers: [dense] });
  return { backbone, head, model: tf.sequential({ layers: [backbone, head] }) };
}

/** Cross-entropy of the first batch. */
function loss(model: tf.LayersModel): tf.Scalar {
  const [x, y] = [train.images, train.labels].map((all) => all.slice(0, batchSize)) as [tf.Tensor, tf.Tensor];
  return tf.metrics.categoricalCrossentropy(y, model.apply(x) as tf.Tensor).mean();
}

function accuracy(model: tf.LayersModel, { images, labels }: ImageSet): string {
  return tf.tidy(() => {
    const right = (model.predict(images, { batchSize }) as tf.Tensor).argMax(1).equal(labels.argMax(1));
    return `${(100 * right.mean().dataSync()[0]!).toFixed(1)} %`;
  });
}

function difference(a: readonly tf.Tensor[], b: readonly tf.Tensor[]): number {
  return Math.max(...a.map((tensor, i) => tf.tidy(() => tensor.sub(b[i]!).abs().max().dataSync()[0]!)));
}

function compare(lean: MemoryReport, stock: MemoryReport): void {
  const row = (a: number, b: number) => ({ 'tfjs, MB': a / 1e6, 'LeanTune, MB': b / 1e6, ratio: Number((b / a).toFixed(3)) });
  const categories = (Object.keys(lean.atPeak) as (keyof MemoryReport['atPeak'])[]).map((key) => [key, row(stock.atPeak[key], lean.atPeak[key])]);
  console.table(Object.fromEntries([...categories, ['peak', row(stock.peakBytes, lean.peakBytes)]]));
}
