/**
 * Test accuracy after fine-tuning in float32 and in mixed precision, over seeds, and the processor time that a step took.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/mixed-precision/accuracy.ts --task image|text --seed 1 [--precision NAME] [--write | --quick]
 *
 * image: MobileNetV2 with ImageNet weights, ten classes of CIFAR-10, all weights. text: all-MiniLM-L6-v2 on questions about cooking, the
 * head and the last two layers. A seed draws the head and the order of the examples, the same for each precision. `float32 nudged` is the
 * control: float32 from weights that differ by a millionth, which shows how far a change as small as a rounding takes a run. The result file
 * is written after each, and holds one entry a seed; its settings must be those of the entries that are there already.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { cifar10, cookingQuestions, miniLMCheckpoint, mobilenetV2 } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { evalMode } from '@leantune/convbn';
import { finetune, type Technique, type Tuned, warmupCosine } from '@leantune/core';
import { fromPretrained, loadTokenizer } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { batchesOf } from '../tasks/fine-tune.ts';
import { padded } from '../tasks/padded.ts';
import { precisions } from '../tasks/precisions.ts';

const settings = {
  image: { size: 64, train: 8000, test: 10_000, batch: 32, epochs: 2, rate: 3e-4 },
  text: { size: 32, train: 600, test: 1242, batch: 8, epochs: 2, rate: 3e-4 },
} as const;
const NUDGED = 'float32 nudged';
const { float32, ...halves } = precisions;
/** In the order in which they run. */
const ways: typeof precisions = { float32: float32!, [NUDGED]: float32!, ...halves };

export interface AccuracyRun {
  readonly seed: number;
  readonly accuracy: { readonly [precision: string]: number };
  /** Of the processor, all cores together. */
  readonly secondsPerStep: { readonly [precision: string]: number };
}

interface Task {
  readonly model: tf.LayersModel;
  readonly techniques: readonly Technique[];
  readonly trainable?: RegExp[];
  readonly train: { readonly x: tf.Tensor[]; readonly y: tf.Tensor };
  readonly test: { readonly x: tf.Tensor[]; readonly y: tf.Tensor };
  readonly loss: (y: tf.Tensor, predicted: tf.Tensor) => tf.Scalar;
}

const { values } = parseArgs({
  options: {
    task: { type: 'string', default: 'image' },
    seed: { type: 'string', default: '1' },
    precision: { type: 'string' },
    write: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
});
if (values.task !== 'image' && values.task !== 'text') throw new Error(`[accuracy] got --task ${values.task}; expected image or text.`);
const name = values.task;
const chosen = values.precision === undefined ? Object.keys(ways) : [values.precision];
if (!chosen.every((precision) => Object.hasOwn(ways, precision)))
  throw new Error(`[accuracy] got --precision ${values.precision}; expected one of ${Object.keys(ways).join(', ')}.`);
const seed = Number(values.seed);
const { batch, epochs, rate, ...whole } = settings[name];
/** A small run tells whether the program works, and nothing about accuracy: it is not written. */
const sizes = values.quick ? { size: whole.size, train: 64, test: 50 } : whole;
const { name: backend } = await useBackend('tensorflow');

const tasks: { readonly [task in typeof name]: () => Promise<Task> } = {
  async image() {
    const { train, test } = await cifar10(sizes);
    const kernelInitializer = tf.initializers.randomNormal({ stddev: 0.02, seed });
    const head = tf.layers.dense({ name: 'photos', units: 10, activation: 'softmax', kernelInitializer });
    return {
      model: tf.sequential({ layers: [await mobilenetV2({ size: sizes.size }), head] }),
      techniques: [evalMode()],
      train: { x: [train.images], y: train.labels },
      test: { x: [test.images], y: test.labels },
      loss: (y, predicted) => tf.mean(tf.metrics.categoricalCrossentropy(y, predicted)) as tf.Scalar,
    };
  },
  async text() {
    const { train, test, topics } = await cookingQuestions(sizes);
    const checkpoint = await miniLMCheckpoint();
    const tokenizer = await loadTokenizer(checkpoint);
    const tensors = ({ texts, labels }: typeof train) => {
      const rows = texts.map((text) => tokenizer.encode(text).slice(0, sizes.size));
      const x = padded(rows, tokenizer.padding, sizes.size);
      return { x, y: tf.oneHot(tf.tensor1d([...labels], 'int32'), topics.length).toFloat() };
    };
    return {
      model: await fromPretrained(checkpoint, { task: 'sequence-classification', labels: topics.length, variant: 'fp16', seed }),
      techniques: [],
      trainable: [/encoder\.layer\.[45]\./, /pooler|classifier/],
      train: tensors(train),
      test: tensors(test),
      loss: (y, predicted) => tf.losses.softmaxCrossEntropy(y, predicted) as tf.Scalar,
    };
  },
};

const file = new URL(`results/${name}.json`, import.meta.url);
for (const precision of chosen) {
  const { share, seconds } = run(await tasks[name](), precision);
  const [accuracy, secondsPerStep] = [Number(share.toFixed(4)), Number(seconds.toFixed(4))];
  console.log(name, seed, precision, accuracy, `${secondsPerStep} s/step`);
  if (values.write && !values.quick) save(precision, accuracy, secondsPerStep);
}

/** What trains, each number by a millionth of itself up or down. */
function nudge({ variables }: Tuned<tf.LayersModel>): void {
  variables.forEach((variable, at) => {
    tf.tidy(() => {
      const signs = tf.sign(tf.randomUniform(variable.shape, -1, 1, 'float32', 1000 * seed + at));
      variable.assign(variable.mul(signs.mul(1e-6).add(1)));
    });
  });
}

/** Into this seed's entry. */
function save(precision: string, accuracy: number, secondsPerStep: number): void {
  const before = existsSync(file) ? readSeeds() : [];
  const own = before.find((one) => one.seed === seed);
  const entry: AccuracyRun = {
    seed,
    accuracy: { ...own?.accuracy, [precision]: accuracy },
    secondsPerStep: { ...own?.secondsPerStep, [precision]: secondsPerStep },
  };
  const seeds = [...before.filter((one) => one !== own), entry].sort((a, b) => a.seed - b.seed);
  writeFileSync(file, `${JSON.stringify({ settings: settings[name], backend, date: new Date().toISOString(), seeds }, null, 2)}\n`);
}

function readSeeds(): readonly AccuracyRun[] {
  const { settings: theirs, seeds } = JSON.parse(readFileSync(file, 'utf8'));
  if (JSON.stringify(theirs) !== JSON.stringify(settings[name]))
    throw new Error(`[accuracy] results/${name}.json was made with other settings. Delete it first.`);
  return seeds;
}

function run(task: Task, precision: string): { share: number; seconds: number } {
  const { model, train, test, loss } = task;
  const tuned = finetune(model, [...task.techniques, ...ways[precision]!()], task.trainable ? { trainable: task.trainable } : {});
  if (precision === NUDGED) nudge(tuned);
  const batches = batchesOf({ examples: train.y.shape[0]!, epochs }, seed, batch);
  const optimizer = tuned.optimizer(tf.train.adam(), {
    schedule: warmupCosine({ peak: rate, warmupSteps: Math.floor(batches.length / epochs / 2), steps: batches.length }),
  });
  const before = process.cpuUsage();
  for (const indices of batches) {
    const [y, ...x] = tf.tidy(() => [train.y, ...train.x].map((t) => tf.gather(t, indices))) as [tf.Tensor, ...tf.Tensor[]];
    const value = () => tf.tidy(() => loss(y, model.apply(x.length === 1 ? x[0]! : x, { training: true }) as tf.Tensor));
    tf.dispose([tuned.minimize(value, optimizer), y, x]);
  }
  const { user, system } = process.cpuUsage(before);
  const right = tf.tidy(() => (model.predict(test.x, { batchSize: 50 }) as tf.Tensor).argMax(-1).equal(test.y.argMax(-1)).mean());
  const share = right.dataSync()[0]!;
  tuned.dispose();
  optimizer.dispose();
  model.dispose();
  tf.dispose([right, train.x, train.y, test.x, test.y]);
  return { share, seconds: (user + system) / 1e6 / batches.length };
}
