/**
 * Fine-tunes a pretrained MobileNetV2 end to end on sketches that people drew, three times: with stock tfjs, with LeanTune, and with three of
 * its techniques; and sets side by side what each took and reached.
 *
 *   npm run quickstart              some three minutes on 2 cores, and 16 MB to fetch the first time
 *   npm run quickstart -- --quick   some 30 seconds, with fewer and smaller sketches
 *
 * The peak of a step above the weights is 360.6 MB with stock tfjs, 48.4 with LeanTune, 15.1 with the techniques; of 300 sketches 76.3, 76.3
 * and 70.3 % are named right.
 *
 * Quick: the peak of a step above the weights is 163.5 MB with stock tfjs, 23.5 with LeanTune, 6.9 with the techniques; of 80 sketches 57.5,
 * 57.5 and 53.8 % are named right.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { mobilenetV2, quickDraw } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { tuneMode } from '@leantune/convbn';
import { restore } from '@leantune/core';
import { biasTuning, fourBit } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';
import { type Outcome, svgBars, textBars } from './bars.ts';
import { difference, measuredStep, type Plan, train, ways } from './ways.ts';

const quick = process.argv.includes('--quick');
const started = performance.now();
const classes = ['butterfly', 'cat', 'dog', 'duck', 'elephant', 'fish', 'giraffe', 'lion', 'owl', 'rabbit'];
const size = quick ? 64 : 96; // pixels
const output = new URL('output/', import.meta.url);

const { name: backend } = await useBackend('wasm');
const { train: sketches, test } = await quickDraw({ classes, size, train: quick ? 200 : 700, test: quick ? 80 : 300 });

const [batchSize, epochs] = [16, quick ? 5 : 8];
const mirrored = { images: tf.image.flipLeftRight(sketches.images), labels: sketches.labels };
const plan: Plan = { batchSize, epochs: Array.from({ length: epochs }, (_, i) => (i % 2 ? mirrored : sketches)) };

const learned: { head?: tf.Sequential } = {};

// A head learns, as usual, from the features of the pretrained backbone. All start from there.
const { backbone, head, model: before } = await classifier();
const features = backbone.predict(sketches.images, { batchSize }) as tf.Tensor;
head.compile({ optimizer: tf.train.adam(3e-3), loss: 'categoricalCrossentropy' });
await head.fit(features, sketches.labels, { epochs: 10, batchSize, shuffle: false, verbose: 0 });
console.log(`MobileNetV2 on ${backend}, ${sketches.images.shape[0]} sketches. With the head alone: ${percent(accuracy(before))}.\n`);

// One and the same training step by each: its memory, and the weights after it.
const batch = { images: sketches.images.slice(0, batchSize), labels: sketches.labels.slice(0, batchSize) };
const measured = [];
for (const way of ways) measured.push(measuredStep(way, (await classifier()).model, batch));
const [stock, lean, stacked] = measured as [(typeof measured)[0], (typeof measured)[0], (typeof measured)[0]];
console.log(String(stacked.memory));
console.log(
  `\nAfter a step the weights of LeanTune differ from those of stock tfjs by at most ${difference(lean.weights, stock.weights)}.\n`,
);

// Then all of it trains, by each.
const outcomes: Outcome[] = [];
const adapter = `file://${fileURLToPath(new URL('adapter', output))}`;
await mkdir(output, { recursive: true });
for (const [i, way] of ways.entries()) {
  const { model } = await classifier();
  const { tuned, seconds } = await train(way, model, plan);
  outcomes.push({ name: way.name, peak: measured[i]!.memory.peakAboveWeights, accuracy: accuracy(model), seconds });
  if (i === 2) await saveAndLoad(model, () => tuned!.save(adapter));
  tuned?.dispose();
  model.dispose();
}
console.log(`\n${textBars(outcomes)}\n`);

const [bars, page] = ['quickstart.svg', 'quickstart-memory.html'].map((name) => fileURLToPath(new URL(name, output))) as [string, string];
await writeFile(bars, svgBars(outcomes));
await writeFile(
  page,
  stacked.memory.toHTML({ title: 'A training step of MobileNetV2', compare: stock.memory, labels: [ways[2].name, ways[0].name] }),
);
console.log(
  `The same as a picture: ${bars}\nMemory over the step:  ${page}\nDone in ${((performance.now() - started) / 1000).toFixed(0)} s.`,
);

/** What was trained is saved, and loaded into the model as it came. */
async function saveAndLoad(model: tf.LayersModel, save: () => Promise<unknown>): Promise<void> {
  await save();
  const { model: fresh } = await classifier();
  await restore(fresh, adapter, { tuneMode, biasTuning, fourBit });
  const outputs = [model, fresh].map((each) => [each.predict(test.images, { batchSize }) as tf.Tensor]);
  console.log(
    `Saved and loaded into a fresh model: outputs differ by at most ${difference(outputs[0]!, outputs[1]!)}. Adapter: ${adapter}`,
  );
}

/** Images [n, size, size, 3] -> features [n, 1280] -> probabilities [n, classes]; the same weights each time, with the head as it is now. */
async function classifier(): Promise<{ backbone: tf.LayersModel; head: tf.Sequential; model: tf.Sequential }> {
  const net = await mobilenetV2({ size });
  const kernelInitializer = tf.initializers.glorotUniform({ seed: 1 });
  const dense = tf.layers.dense({ name: 'sketches', inputShape: [1280], units: classes.length, activation: 'softmax', kernelInitializer });
  const top = tf.sequential({ name: 'head', layers: [dense] });
  if (learned.head) top.setWeights(learned.head.getWeights());
  learned.head ??= top;
  return { backbone: net, head: top, model: tf.sequential({ layers: [net, top] }) };
}

function accuracy(model: tf.LayersModel): number {
  return tf.tidy(
    () => (model.predict(test.images, { batchSize }) as tf.Tensor).argMax(1).equal(test.labels.argMax(1)).mean().dataSync()[0]!,
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(1)} %`;
}
