/** What accuracy.ts trains on: a pretrained model with a new head, examples to train, to choose rates and to test, and how many it gets right. */
import { cifar10, cookingQuestions, miniLMCheckpoint, movieReviews, resnet50, resnet50Input, type TextSet } from '@leantune/assets';
import { fromPretrained, loadTokenizer } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { stretches, type Task } from '../tasks/fine-tune.ts';
import { padded } from '../tasks/padded.ts';

export type Split = 'train' | 'validation' | 'test';

export interface SplitTask extends Task {
  /** Share of right answers. Where there are enough examples, each seed has its own to test. */
  accuracy(split: Split, seed: number): number;
}

/** Examples of one split, as the model takes them. */
interface Examples {
  readonly labels: readonly number[];
  inputs(indices: readonly number[]): tf.Tensor | tf.Tensor[];
}

interface Parts {
  readonly data: string;
  /** To features [n, d]. */
  readonly backbone: tf.LayersModel;
  readonly classes: number;
  readonly epochs: number;
  readonly splits: { readonly [split in Split]: Examples };
  /** Which examples a seed tests on. @default all */
  readonly tested?: (seed: number) => readonly number[];
}

/** The layer that trains in every mode. */
export const HEAD = 'head';

export const tasks: { readonly [model: string]: () => Promise<SplitTask> } = {
  minilm: cooking,
  'minilm-movies': movies,
  'resnet-50': resNet,
};

function taskOf({ data, backbone, classes, epochs, splits, tested }: Parts): SplitTask {
  const head = tf.layers.dense({ units: classes, name: HEAD });
  const model = tf.model({ inputs: backbone.inputs, outputs: head.apply(backbone.outputs[0]!) as tf.SymbolicTensor });
  const { train } = splits;
  const all = ({ labels }: Examples) => labels.map((_, i) => i);
  const wanted = (indices: readonly number[]) =>
    tf.oneHot(
      indices.map((i) => train.labels[i]!),
      classes,
    );
  const outputs = (of: tf.LayersModel, examples: Examples, indices: readonly number[]) =>
    tf.tidy(() => tf.concat(stretches(indices, 40).map((some) => tf.tidy(() => of.apply(examples.inputs(some)) as tf.Tensor))));
  const known = outputs(backbone, train, all(train));
  return {
    data,
    model,
    examples: train.labels.length,
    epochs,
    /** To what it learns on frozen features: what every mode starts from. */
    restart(seed) {
      tf.tidy(() => head.setWeights([tf.randomNormal([known.shape[1]!, classes], 0, 0.01, 'float32', seed), tf.zeros([classes])]));
      const optimizer = tf.train.adam(1e-3);
      const weights = head.trainableWeights.map((w) => w.read() as tf.Variable);
      const loss = () => tf.losses.softmaxCrossEntropy(wanted(all(train)), head.apply(known) as tf.Tensor) as tf.Scalar;
      for (let step = 0; step < 200; step++) optimizer.minimize(loss, false, weights);
      optimizer.dispose();
    },
    loss: (indices) => tf.tidy(() => tf.losses.softmaxCrossEntropy(wanted(indices), model.apply(train.inputs(indices)) as tf.Tensor)),
    accuracy(split, seed) {
      const examples = splits[split];
      const indices = (split === 'test' && tested?.(seed)) || all(examples);
      const guesses = tf.tidy(() => tf.argMax(outputs(model, examples, indices), -1).dataSync());
      return indices.filter((i, k) => guesses[k] === examples.labels[i]).length / indices.length;
    },
  };
}

/** Four topics, as many as have enough questions for a large test set. */
async function cooking(): Promise<SplitTask> {
  const [trained, chosen, tested] = [320, 400, 1800];
  const topics = ['baking', 'food-safety', 'substitutions', 'equipment'];
  const { train, test } = await cookingQuestions({ topics, train: trained + chosen, test: tested });
  return miniLM({ data: `cooking questions, ${trained} train, ${tested} test`, trained, train, test, classes: topics.length });
}

/** For a film or against it. What stands in the first 64 tokens must do. */
async function movies(): Promise<SplitTask> {
  const [trained, chosen, tested] = [640, 400, 2000];
  const { train, test, opinions } = await movieReviews({ train: trained + chosen, test: tested });
  const data = `reviews of films, ${trained} train, ${tested} test`;
  return miniLM({ data, trained, train, test, classes: opinions.length, most: 64 });
}

interface Texts {
  readonly data: string;
  /** How many of `train` train; the rest choose rates. */
  readonly trained: number;
  readonly train: TextSet;
  readonly test: TextSet;
  readonly classes: number;
  /** Tokens that are read of a text. @default all */
  readonly most?: number;
}

async function miniLM({ data, trained, train, test, classes, most = Number.POSITIVE_INFINITY }: Texts): Promise<SplitTask> {
  const checkpoint = await miniLMCheckpoint();
  const [tokenizer, sentences] = await Promise.all([
    loadTokenizer(checkpoint),
    fromPretrained(checkpoint, { task: 'sentence-embedding', variant: 'fp16' }), // unit vectors
  ]);
  const width = sentences.outputs[0]!.shape[1]!;
  const scaled = tf.layers.rescaling({ scale: Math.sqrt(width), name: 'scaled' }).apply(sentences.outputs[0]!) as tf.SymbolicTensor;
  const idsOf = (text: string): number[] => {
    const ids = tokenizer.encode(text);
    return ids.length > most ? [...ids.slice(0, most - 1), ids.at(-1)!] : ids;
  };
  const examples = ({ texts, labels }: TextSet, from: number, to: number): Examples => {
    const rows = texts
      .slice(from, to)
      .map((text, i) => ({ ids: idsOf(text), label: labels[from + i]! }))
      .sort((a, b) => a.ids.length - b.ids.length); // little padding where they are taken in order
    return {
      labels: rows.map(({ label }) => label),
      inputs: (indices) =>
        padded(
          indices.map((i) => rows[i]!.ids),
          tokenizer.padding,
        ),
    };
  };
  return taskOf({
    data,
    backbone: tf.model({ inputs: sentences.inputs, outputs: scaled }),
    classes,
    epochs: 4,
    splits: {
      train: examples(train, 0, trained),
      validation: examples(train, trained, train.texts.length),
      test: examples(test, 0, test.texts.length),
    },
  });
}

async function resNet(): Promise<SplitTask> {
  const [trained, chosen, tested, size] = [400, 400, 1000, 96];
  const { train, test, classes } = await cifar10({ train: trained + chosen, test: 3 * tested, size });
  const whole = await resnet50({ size });
  const examples = ({ images, labels }: typeof train, from: number, to: number): Examples => {
    const photos = tf.keep(resnet50Input(tf.slice(images, [from, 0, 0, 0], [to - from, -1, -1, -1])));
    return {
      labels: [...tf.tidy(() => tf.argMax(tf.slice(labels, [from, 0], [to - from, -1]), -1).dataSync())],
      inputs: (indices) => tf.gather(photos, tf.tensor1d(indices as number[], 'int32')),
    };
  };
  return taskOf({
    data: `CIFAR-10 at ${size} px, ${trained} train, ${tested} test a seed`,
    backbone: tf.model({ inputs: whole.inputs, outputs: whole.layers.at(-2)!.output as tf.SymbolicTensor }),
    classes: classes.length,
    epochs: 4,
    splits: {
      train: examples(train, 0, trained),
      validation: examples(train, trained, trained + chosen),
      test: examples(test, 0, 3 * tested),
    },
    tested: (seed) => Array.from({ length: tested }, (_, i) => ((seed - 1) % 3) * tested + i),
  });
}
