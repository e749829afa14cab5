/**
 * A sentence encoder learns to sort questions about cooking by topic: all-MiniLM-L6-v2, with LoRA, LaMDA and LaMDA++ in turn.
 *
 *   npm run classify --workspace examples/adapters              some ten minutes on 2 cores, and 49 MB to fetch the first time
 *   npm run classify --workspace examples/adapters -- --quick   one seed, fewer steps
 */
import { cookingQuestions, miniLMCheckpoint, type TextSet } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { fromPretrained, loadTokenizer } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { commandLine } from './choice.ts';
import { compare, type Task } from './compare.ts';

const choice = commandLine();
const { quick } = choice;
const [batchSize, length] = [8, 32];

await useBackend(choice.backend);
const { train, test, topics } = await cookingQuestions({ train: quick ? 120 : 600, test: quick ? 60 : 300 });
const checkpoint = await miniLMCheckpoint();
const tokenizer = await loadTokenizer(checkpoint);
const model = await fromPretrained(checkpoint, { task: 'sequence-classification', labels: topics.length, variant: 'fp16' });
const perEpoch = train.texts.length / batchSize;

const task: Task = {
  model,
  targets: /encoder\.layer\.\d+\..*(query|key|value|dense)$/,
  trainable: /pooler|classifier/,
  settings: {
    task: 'minilm',
    backend: choice.backend,
    steps: quick ? perEpoch : 3 * perEpoch,
    batch: batchSize,
    tokens: length,
    train: train.texts.length,
    test: test.texts.length,
  },
  loss: (step, seed) =>
    lossOf(
      train,
      Array.from({ length: batchSize }, (_, i) => shuffled(step * batchSize + i, seed)),
    ),
  validate() {
    const batches = test.texts.length / 20;
    const losses = Array.from({ length: batches }, (_, k) =>
      tf.tidy(
        () =>
          lossOf(
            test,
            Array.from({ length: 20 }, (_, i) => 20 * k + i),
          ).dataSync()[0]!,
      ),
    );
    return losses.reduce((sum, x) => sum + x, 0) / batches;
  },
};
await compare(task, choice);

/** The index of the n-th question of a run: every epoch in an order of its own. */
function shuffled(n: number, seed: number): number {
  const count = train.texts.length;
  const epoch = Math.floor(n / count);
  const strides = [7, 11, 13, 17, 19, 23, 29, 31]; // without a common factor with 120 and 600 but 1
  return ((n % count) * strides[(epoch + seed) % strides.length]! + 101 * seed) % count;
}

/** Cross-entropy of some texts. */
function lossOf({ texts, labels }: TextSet, indices: readonly number[]): tf.Scalar {
  return tf.tidy(() => {
    const rows = indices.map((i) => tokenizer.encode(texts[i]!).slice(0, length));
    const matrix = (value: (row: number[], at: number) => number) =>
      tf.tensor2d(
        rows.map((row) => Array.from({ length }, (_, at) => value(row, at))),
        undefined,
        'int32',
      );
    const x = [matrix((row, at) => row[at] ?? tokenizer.padding), matrix((row, at) => Number(at < row.length))];
    const wanted = tf
      .oneHot(
        tf.tensor1d(
          indices.map((i) => labels[i]!),
          'int32',
        ),
        topics.length,
      )
      .toFloat();
    return tf.losses.softmaxCrossEntropy(wanted, model.apply(x, { training: true }) as tf.Tensor);
  });
}
