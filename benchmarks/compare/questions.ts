/** What the comparison's accuracy is of: MiniLM with a head, questions about cooking, and the share of test questions that it gets right. */
import { cookingQuestions, miniLMCheckpoint, type TextSet } from '@leantune/assets';
import { fromPretrained, loadTokenizer, type TextTokenizer } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { stretches, type Task } from '../tasks/fine-tune.ts';
import { padded } from '../tasks/padded.ts';

export interface Questions extends Task {
  /** The layers that train in every mode. */
  readonly head: RegExp;
  /** Share of right answers on the test set. */
  accuracy(): number;
  /** What another program needs to train on the same: the checkpoint's folder, and examples by Hugging Face's names. */
  exported(): { readonly checkpoint: string; readonly classes: number; readonly train: object; readonly test: object };
}

const TOKENS = 32;

/** Share of the labels that `logits` of the examples gets right, some at a time. */
function shareRight(labels: readonly number[], atOnce: number, logits: (indices: readonly number[]) => tf.Tensor): number {
  const guesses = stretches([...labels.keys()], atOnce).flatMap((indices) => [...tf.tidy(() => tf.argMax(logits(indices), -1).dataSync())]);
  return guesses.filter((guess, i) => guess === labels[i]).length / labels.length;
}

function examplesOf({ texts, labels }: TextSet, tokenizer: TextTokenizer): object {
  const tokens = padded(
    texts.map((text) => tokenizer.encode(text)),
    tokenizer.padding,
    TOKENS,
  );
  const [input_ids, attention_mask] = tokens.map((matrix) => matrix.arraySync());
  tf.dispose(tokens);
  return { input_ids, attention_mask, labels };
}

export async function questions(): Promise<Questions> {
  const { train, test, topics } = await cookingQuestions({ train: 480, test: 300 });
  const checkpoint = await miniLMCheckpoint();
  const tokenizer = await loadTokenizer(checkpoint);
  const model = await fromPretrained(checkpoint, { task: 'sequence-classification', labels: topics.length, variant: 'fp16' });
  const logits = ({ texts }: TextSet, indices: readonly number[], training: boolean): tf.Tensor =>
    model.apply(
      padded(
        indices.map((i) => tokenizer.encode(texts[i]!)),
        tokenizer.padding,
        TOKENS,
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
