/**
 * A sentence encoder learns to sort questions about cooking by topic: all-MiniLM-L6-v2, with LoRA, LaMDA and LaMDA++ in turn.
 *
 *   npm run classify --workspace examples/adapters               some ten minutes on 2 cores, and 49 MB to fetch the first time
 *   npm run classify --workspace examples/adapters -- --quick    one seed, fewer steps
 *   npm run classify --workspace examples/adapters -- --search   tries learning rates first
 *
 * The new head learns first, on the model as it is: all methods start from the same one.
 */
import { cookingQuestions, miniLMCheckpoint, type TextSet } from '@leantune/assets';
import { useBackend } from '@leantune/backends';
import { adamW, finetune } from '@leantune/core';
import { fromPretrained, loadTokenizer } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { commandLine } from './choice.ts';
import { compare, type Task } from './compare.ts';
import { shuffled } from './order.ts';

const choice = commandLine();
const { quick } = choice;
const [batchSize, length] = [8, 32];

await useBackend(choice.backend);
const size = quick ? 120 : 600;
const { train, test: rest, topics } = await cookingQuestions({ train: size, test: size });
const half = (from: number): TextSet => ({
  texts: rest.texts.slice(from, from + size / 2),
  labels: rest.labels.slice(from, from + size / 2),
});
const sets = { validation: half(0), test: half(size / 2) };
const checkpoint = await miniLMCheckpoint();
const tokenizer = await loadTokenizer(checkpoint);
const model = await fromPretrained(checkpoint, { task: 'sequence-classification', labels: topics.length, variant: 'fp16' });
const head = /pooler|classifier/;
/** What the head was when it came, and what it is where methods start, by seed. */
let pretrained: tf.Tensor[] | undefined;
const heads = new Map<number, tf.Tensor[]>();
const perEpoch = train.texts.length / batchSize;

const task: Task = {
  model,
  targets: /encoder\.layer\.\d+\..*(query|key|value|dense)$/,
  trainable: head,
  settings: {
    task: 'minilm',
    backend: choice.backend,
    rank: 32,
    freezeFraction: 0.1,
    steps: 2 * perEpoch,
    batch: batchSize,
    tokens: length,
    train: train.texts.length,
    validation: sets.validation.texts.length,
    test: sets.test.texts.length,
  },
  start,
  loss: lossAt,
  evaluate(on) {
    const set = sets[on];
    const batches = Math.floor(set.texts.length / 20);
    const losses = Array.from({ length: batches }, (_, k) => tf.tidy(() => lossOf(set, numbers(20, 20 * k)).dataSync()[0]!));
    return losses.reduce((sum, x) => sum + x, 0) / batches;
  },
};
await compare(task, choice);

/** Puts a head there that was drawn by `seed`, and has learnt on the model as it is, for half an epoch. It learns once. */
function start(seed: number): void {
  const tuned = finetune(model, [], { trainable: head });
  const assign = (values: readonly tf.Tensor[]) => {
    for (const [i, v] of tuned.variables.entries()) v.assign(values[i]!);
  };
  pretrained ??= tuned.variables.map((v) => v.clone());
  if (!heads.has(seed)) {
    const [kernel] = pretrained.filter(({ shape }) => shape.length === 2 && shape[1] === topics.length);
    const drawn = tf.randomNormal(kernel!.shape, 0, 0.02, 'float32', seed);
    assign(pretrained.map((t) => (t === kernel ? drawn : t)));
    drawn.dispose();
    const optimizer = tuned.optimizer(adamW({ learningRate: 1e-3, weightDecay: 0 }));
    for (let step = 0; step < perEpoch / 2; step++) tuned.minimize(() => lossAt(step, seed), optimizer).dispose();
    optimizer.dispose();
    heads.set(
      seed,
      tuned.variables.map((v) => v.clone()),
    );
  }
  assign(heads.get(seed)!);
  tuned.detach();
}

function numbers(count: number, from: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

function lossAt(step: number, seed: number): tf.Scalar {
  return lossOf(
    train,
    numbers(batchSize, step * batchSize).map((n) => shuffled(n, train.texts.length, seed)),
  );
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
