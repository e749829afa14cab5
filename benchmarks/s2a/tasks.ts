/** What accuracy.ts trains on: a pretrained model with a head, its examples, and the share of test examples that it gets right. */
import { cifar10, cookingQuestions, miniLMCheckpoint, resnet50, resnet50Input, type TextSet } from '@leantune/assets';
import { fromPretrained, loadTokenizer, type TextTokenizer } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';

export interface Task {
  readonly data: string;
  readonly model: tf.LayersModel;
  /** The layers that train in every mode. */
  readonly head: RegExp;
  readonly examples: number;
  readonly epochs: number;
  /** Gives the head its first weights of a run. */
  restart(seed: number): void;
  /** Mean cross-entropy of some examples. */
  loss(indices: readonly number[]): tf.Scalar;
  /** Share of right answers on the test set. */
  accuracy(): number;
  /** What another program needs to train on the same: the checkpoint's folder, and examples by Hugging Face's names. */
  exported?(): { readonly checkpoint: string; readonly classes: number; readonly train: object; readonly test: object };
}

export const tasks: { readonly [model: string]: () => Promise<Task> } = { minilm, 'resnet-50': resNet };

/** Share of the labels that `logits` of the examples gets right, some at a time. */
function shareRight(labels: readonly number[], atOnce: number, logits: (indices: readonly number[]) => tf.Tensor): number {
  const guesses = stretches(labels.length, atOnce).flatMap((indices) => [...tf.tidy(() => tf.argMax(logits(indices), -1).dataSync())]);
  return guesses.filter((guess, i) => guess === labels[i]).length / labels.length;
}
const stretches = (n: number, size: number): number[][] =>
  Array.from({ length: Math.ceil(n / size) }, (_, k) => Array.from({ length: Math.min(size, n - k * size) }, (_, i) => k * size + i));

/** Token ids and mask, [n, 32] each. */
function padded(rows: readonly (readonly number[])[], padding: number): tf.Tensor[] {
  const matrix = (value: (row: readonly number[], at: number) => number) =>
    tf.tensor2d(
      rows.map((row) => Array.from({ length: 32 }, (_, at) => value(row, at))),
      undefined,
      'int32',
    );
  return [matrix((row, at) => row[at] ?? padding), matrix((row, at) => Number(at < row.length))];
}

function examplesOf({ texts, labels }: TextSet, tokenizer: TextTokenizer): object {
  const tokens = padded(
    texts.map((text) => tokenizer.encode(text)),
    tokenizer.padding,
  );
  const [input_ids, attention_mask] = tokens.map((matrix) => matrix.arraySync());
  tf.dispose(tokens);
  return { input_ids, attention_mask, labels };
}

async function minilm(): Promise<Task> {
  const { train, test, topics } = await cookingQuestions({ train: 480, test: 300 });
  const checkpoint = await miniLMCheckpoint();
  const tokenizer = await loadTokenizer(checkpoint);
  const model = await fromPretrained(checkpoint, { task: 'sequence-classification', labels: topics.length, variant: 'fp16' });
  const logits = ({ texts }: TextSet, indices: readonly number[], training: boolean): tf.Tensor =>
    model.apply(
      padded(
        indices.map((i) => tokenizer.encode(texts[i]!)),
        tokenizer.padding,
      ),
      { training },
    ) as tf.Tensor;
  return {
    data: 'cooking questions, 480 train, 300 test',
    model,
    head: /pooler|classifier/,
    examples: train.texts.length,
    epochs: 2,
    restart(seed) {
      const layer = model.layers.find(({ name }) => /classifier/.test(name))!;
      tf.tidy(() =>
        layer.setWeights(
          layer.getWeights().map((w, i) => (i === 0 ? tf.randomNormal(w.shape, 0, 0.02, 'float32', seed) : tf.zerosLike(w))),
        ),
      );
    },
    loss: (indices) =>
      tf.tidy(() => {
        const wanted = tf.oneHot(
          indices.map((i) => train.labels[i]!),
          topics.length,
        );
        return tf.losses.softmaxCrossEntropy(wanted, logits(train, indices, true));
      }),
    accuracy: () => shareRight(test.labels, 20, (indices) => logits(test, indices, false)),
    exported: () => ({ checkpoint, classes: topics.length, train: examplesOf(train, tokenizer), test: examplesOf(test, tokenizer) }),
  };
}

async function resNet(): Promise<Task> {
  const { train, test, classes } = await cifar10({ train: 600, test: 400, size: 64 });
  const whole = await resnet50({ size: 64 });
  const features = whole.layers.at(-2)!.output as tf.SymbolicTensor;
  const backbone = tf.model({ inputs: whole.inputs, outputs: features });
  const head = tf.layers.dense({ units: classes.length, name: 'head' });
  const model = tf.model({ inputs: whole.inputs, outputs: head.apply(features) as tf.SymbolicTensor });
  const images = { train: resnet50Input(train.images), test: resnet50Input(test.images) };
  const of = (set: tf.Tensor, indices: readonly number[]) => tf.gather(set, tf.tensor1d(indices as number[], 'int32'));
  const known = backbone.predict(images.train, { batchSize: 50 }) as tf.Tensor2D;
  const labels = [...tf.tidy(() => tf.argMax(test.labels, -1).dataSync())];
  return {
    data: 'CIFAR-10 at 64 px, 600 train, 400 test',
    model,
    head: /^head$/,
    examples: train.images.shape[0],
    epochs: 2,
    /** On the frozen features, as is usual before a backbone is touched. */
    restart(seed) {
      tf.tidy(() => head.setWeights([tf.randomNormal([2048, classes.length], 0, 0.01, 'float32', seed), tf.zeros([classes.length])]));
      const optimizer = tf.train.adam(1e-3);
      const weights = head.trainableWeights.map((w) => w.read() as tf.Variable);
      for (let step = 0; step < 100; step++)
        optimizer.minimize(() => tf.losses.softmaxCrossEntropy(train.labels, head.apply(known) as tf.Tensor) as tf.Scalar, false, weights);
      optimizer.dispose();
    },
    loss: (indices) =>
      tf.tidy(() => tf.losses.softmaxCrossEntropy(of(train.labels, indices), model.apply(of(images.train, indices)) as tf.Tensor)),
    accuracy: () => shareRight(labels, 50, (indices) => model.apply(of(images.test, indices)) as tf.Tensor),
  };
}
