/** Questions about cooking as batches of tokens, and how well a model predicts them: what two examples share. */
import { cookingQuestions } from '@leantune/assets';
import { byLength, type Example, languageBatches, pack, type Row, type TextTokenizer } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';

/** Of a story: in the pretraining of stories15M the next one begins there, with <s>. */
export const END = 1;

export interface CookingBatches {
  readonly questions: number;
  /** Four rows of 64 tokens each, several questions in a row. */
  readonly batches: readonly Row[][];
  readonly tests: readonly Row[][];
}

export async function cookingBatches(tokenizer: TextTokenizer, quick: boolean): Promise<CookingBatches> {
  const { train, test } = await cookingQuestions({ train: quick ? 60 : 480, test: quick ? 24 : 60 });
  const tokensOf = (text: string): Example => ({ ids: [...tokenizer.encode(text), END] });
  const rows = pack(train.texts.map(tokensOf), { length: 64 });
  return {
    questions: train.texts.length,
    batches: Array.from({ length: Math.ceil(rows.length / 4) }, (_, i) => rows.slice(4 * i, 4 * (i + 1))),
    tests: byLength(test.texts.map(tokensOf), { batchSize: 20 }),
  };
}

/** e to the mean loss of a token, of a model that ends in losses. */
export function perplexity(trainer: tf.LayersModel, tests: readonly Row[][]): number {
  return tf.tidy(() => {
    const sums = [...languageBatches(trainer, tests)].map(({ xs }) =>
      tf.sum(trainer.predict(trainer.inputNames.map((name) => xs[name]!)) as tf.Tensor, 0),
    );
    const [loss, count] = tf.addN(sums).dataSync() as Float32Array;
    return Math.exp(loss! / count!);
  });
}
