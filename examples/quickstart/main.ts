import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { mobilenetV2, progressBar, quickDraw } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { finetune, type MemoryReport, measure, restore, type SiteFilter, warmupCosine } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const started = performance.now();
const classes = ['butterfly', 'cat', 'dog', 'duck', 'elephant', 'fish', 'giraffe', 'lion', 'owl', 'rabbit'];
const size = quick ? 64 : 96; // pixels
const batchSize = 16;
const output = new URL('output/', import.meta.url);

const { name: backend } = await useBackend('wasm');
const { train, test } = await quickDraw({ classes, size, train: quick ? 200 : 700, test: quick ? 80 : 300 });

// Every convolution and the head train. BatchNorm does not, and so runs as in inference: batches are small.
const trainable: SiteFilter = (site) => site.kind !== 'batchNorm';

// One and the same training step, by tfjs and by LeanTune.
const stock = await trainingStep('tfjs');
const lean = await trainingStep('LeanTune');
compare(lean.memory, stock.memory);
console.log(`The weights after it differ by at most ${difference(lean.weights, stock.weights)}.\n`);

// A head learns, as usual, from the features of the pretrained backbone.
const { backbone, head, model } = await classifier();
const features = backbone.predict(train.images, { batchSize }) as tf.Tensor;
head.compile({ optimizer: tf.train.adam(3e-3), loss: 'categoricalCrossentropy' });
await head.fit(features, train.labels, { epochs: 10, batchSize, shuffle: false, verbose: 0 });
const before = accuracy();

// Then all of it trains: two lines more than tfjs.
const tuned = finetune(model, [], { trainable });
console.log(`${tuned.summary()} on ${backend}`);
const epochs = quick ? 6 : 8;
const steps = Math.ceil(train.images.shape[0] / batchSize);
const schedule = warmupCosine({ peak: 3e-4, warmupSteps: steps, steps: epochs * steps });
model.compile({ optimizer: tuned.optimizer(tf.train.adam(), { schedule }), loss: 'categoricalCrossentropy' });
const mirrored = tf.image.flipLeftRight(train.images);
for (let epoch = 1; epoch <= epochs; epoch++) {
  const bar = progressBar(`Epoch ${epoch} of ${epochs}`, steps);
  const onBatchEnd = (batch: number, logs?: tf.Logs): void => bar.update(batch + 1, `loss ${logs?.['loss']?.toFixed(3)}`);
  await model.fit(epoch % 2 ? train.images : mirrored, train.labels, { batchSize, shuffle: false, verbose: 0, callbacks: { onBatchEnd } });
  bar.stop();
}
console.log(`Validation accuracy: ${before} with the head alone, ${accuracy()} after fine-tuning.\n`);

// What was trained is saved, and loaded into the model as it came.
await mkdir(output, { recursive: true });
const adapter = `file://${fileURLToPath(new URL('adapter', output))}`;
await tuned.save(adapter);
const { model: fresh } = await classifier();
await restore(fresh, adapter);
const outputs = [model, fresh].map((each) => [each.predict(test.images, { batchSize }) as tf.Tensor]);
console.log(`Saved and loaded into a fresh model: outputs differ by at most ${difference(outputs[0]!, outputs[1]!)}.\nAdapter: ${adapter}`);

const page = fileURLToPath(new URL('quickstart-memory.html', output));
await writeFile(page, lean.memory.toHTML({ title: 'A training step of MobileNetV2', compare: stock.memory, labels: ['LeanTune', 'tfjs'] }));
console.log(`Memory of the step, drawn: ${page}\nDone in ${((performance.now() - started) / 1000).toFixed(0)} s.`);

/** Images [n, size, size, 3] -> features [n, 1280] -> probabilities [n, classes]; the same weights each time. */
async function classifier(): Promise<{ backbone: tf.LayersModel; head: tf.Sequential; model: tf.Sequential }> {
  const backbone = await mobilenetV2({ size });
  const kernelInitializer = tf.initializers.glorotUniform({ seed: 1 });
  const dense = tf.layers.dense({ name: 'sketches', inputShape: [1280], units: classes.length, activation: 'softmax', kernelInitializer });
  const head = tf.sequential({ name: 'head', layers: [dense] });
  return { backbone, head, model: tf.sequential({ layers: [backbone, head] }) };
}

/** The memory of a step on the first batch, the second step, for which Adam has its slots; and the weights after it. */
async function trainingStep(by: 'tfjs' | 'LeanTune'): Promise<{ memory: MemoryReport; weights: tf.Tensor[] }> {
  const { model } = await classifier();
  const optimizer = tf.train.adam(1e-4);
  const variables = model.trainableWeights.filter((weight) => !/gamma|beta/.test(weight.name)).map((weight) => weight.read() as tf.Variable);
  const [x, y] = [train.images.slice(0, batchSize), train.labels.slice(0, batchSize)];
  const loss = (): tf.Scalar => tf.metrics.categoricalCrossentropy(y, model.apply(x) as tf.Tensor).mean();
  const tuned = by === 'LeanTune' ? finetune(model, [], { trainable }) : undefined;
  const step = (): void => (tuned ? tuned.minimize(loss, optimizer) : optimizer.minimize(loss, true, variables))!.dispose();
  step();
  const { memory } = measure(step, { model, optimizer });
  const weights = model.getWeights().map((weight) => weight.clone());
  tuned?.dispose();
  model.dispose();
  optimizer.dispose();
  tf.dispose([x, y]);
  return { memory, weights };
}

function accuracy(): string {
  const right = tf.tidy(() => (model.predict(test.images, { batchSize }) as tf.Tensor).argMax(1).equal(test.labels.argMax(1)).mean().dataSync()[0]!);
  return `${(100 * right).toFixed(1)} %`;
}

function difference(a: readonly tf.Tensor[], b: readonly tf.Tensor[]): number {
  return Math.max(...a.map((tensor, i) => tf.tidy(() => tensor.sub(b[i]!).abs().max().dataSync()[0]!)));
}

function compare(lean: MemoryReport, stock: MemoryReport): void {
  const row = (a: number, b: number) => ({ 'tfjs, MB': (a / 1e6).toFixed(2), 'LeanTune, MB': (b / 1e6).toFixed(2) });
  const categories = (Object.keys(lean.atPeak) as (keyof MemoryReport['atPeak'])[]).map((key) => [key, row(stock.atPeak[key], lean.atPeak[key])]);
  console.table(Object.fromEntries([...categories, ['peak', row(stock.peakBytes, lean.peakBytes)]]));
}
