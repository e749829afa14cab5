/** What the comparison's accuracy is of: MiniLM with a head, questions about cooking, and the share of test questions that it gets right. */
import { cookingQuestions, miniLMCheckpoint, type TextSet } from '@leantune/assets';
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

export async function questions(): Promise<Task> {
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
