/**
 * Photos that a network takes for something else, found by gradients with respect to the photos: nothing of the network trains.
 *
 *   npm start --workspace examples/adversarial              about a minute on 2 cores, and 141 MB to fetch the first time
 *   npm start --workspace examples/adversarial -- --quick   some 15 seconds, with fewer and smaller photos
 *
 * Of the photos it names 70.3 % right before, and none after (quick: 53.1 %). A gradient keeps 571.10 MB in tfjs and 30.84 MB in LeanTune
 * (quick: 127.38 and 6.86), in either mode: with frozen weights neither convolutions nor norms keep a feature map.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { cifar10, type ImageSet, mobilenetV2 } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { evalMode, tuneMode } from '@leantune/convbn';
import { finetune, type MemoryReport, measure, type Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';

const quick = process.argv.includes('--quick');
const started = performance.now();
const size = quick ? 64 : 96; // pixels
const output = new URL('output/', import.meta.url);
/** Projected gradient descent in the maximum norm, Madry et al. 2017, arXiv 1706.06083. Photos are in [-1, 1], so 8/255 is doubled. */
const attack = { radius: 16 / 255, stride: 4 / 255, steps: 8 };

await useBackend('wasm');
const { train, test, classes } = await cifar10({ size, train: quick ? 300 : 1000, test: quick ? 32 : 64 });
const model = await classifier(train);
console.log(`Of ${test.images.shape[0]} photos it names ${share(test.images)} right.`);

const stock = search('tfjs');
const inEval = search(evalMode());
const inTune = search(tuneMode());
for (const { by, right, memory } of [stock, inEval, inTune]) {
  const [kept, peak] = [memory.keptBytes, memory.peakAboveWeights].map((bytes) => `${(bytes / 1e6).toFixed(2)} MB`);
  console.log(`${by.padEnd(9)} ${right} right after ${attack.steps} steps of at most 8/255; a step keeps ${kept}, and its peak is ${peak}`);
}

await mkdir(output, { recursive: true });
const page = fileURLToPath(new URL('memory.html', output));
const title = 'A gradient with respect to the photos';
await writeFile(page, inTune.memory.toHTML({ title, compare: stock.memory, labels: ['Tune mode', 'tfjs'] }));
console.log(`Memory of both, drawn: ${page}\nDone in ${((performance.now() - started) / 1000).toFixed(0)} s.`);

/** Changes copies of the test photos, by gradients of stock tfjs or of LeanTune in a mode, and measures one gradient more. */
function search(by: 'tfjs' | Technique): { by: string; right: string; memory: MemoryReport } {
  const x = tf.variable(test.images as tf.Tensor);
  const cost = (): tf.Scalar => tf.metrics.categoricalCrossentropy(test.labels, model.apply(x) as tf.Tensor).mean();
  // What "trains" are the photos: a technique that brings its own variables, beside the mode.
  const photos: Technique = { name: 'photos', options: {}, attach: () => ({ variables: [x], detach() {} }) };
  const tuned = by === 'tfjs' ? undefined : finetune(model, [by, photos]);
  const gradient = (): tf.Tensor => {
    const { value, grads } = tuned ? tuned.valueAndGrads(cost) : tf.variableGrads(cost, [x]);
    value.dispose();
    return grads[x.name]!;
  };
  for (let step = 0; step < attack.steps; step++) ascend(x, gradient());
  const right = share(x);
  const { memory } = measure(() => gradient().dispose(), { model });
  tuned?.dispose();
  x.dispose();
  return { by: by === 'tfjs' ? by : by.name, right, memory };
}

/** x + stride · sign of the gradient, no farther than the radius from the photo, and still a photo. */
function ascend(x: tf.Variable, gradient: tf.Tensor): void {
  tf.tidy(() => {
    const moved = x.add(gradient.sign().mul(attack.stride));
    const offset = moved.sub(test.images).clipByValue(-attack.radius, attack.radius);
    x.assign(test.images.add(offset).clipByValue(-1, 1));
  });
  gradient.dispose();
}

/** MobileNetV2 of ImageNet with a head that learns the ten kinds of photo from its features. */
async function classifier({ images, labels }: ImageSet): Promise<tf.LayersModel> {
  const backbone = await mobilenetV2({ size });
  const kernelInitializer = tf.initializers.glorotUniform({ seed: 1 });
  const dense = tf.layers.dense({ name: 'photos', inputShape: [1280], units: classes.length, activation: 'softmax', kernelInitializer });
  const head = tf.sequential({ name: 'head', layers: [dense] });
  const features = backbone.predict(images, { batchSize: 32 }) as tf.Tensor;
  head.compile({ optimizer: tf.train.adam(1e-3), loss: 'categoricalCrossentropy' });
  await head.fit(features, labels, { epochs: 20, batchSize: 32, shuffle: false, verbose: 0 });
  features.dispose();
  return tf.sequential({ layers: [backbone, head] });
}

function share(images: tf.Tensor): string {
  const right = tf.tidy(() => (model.predict(images) as tf.Tensor).argMax(1).equal(test.labels.argMax(1)).mean().dataSync()[0]!);
  return `${(100 * right).toFixed(1)} %`;
}
