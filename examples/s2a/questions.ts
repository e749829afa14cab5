/** MiniLM sorts questions about cooking by topic: a function of variables, with a new head. */
import { accuracyOn, cookingQuestions, embed, MINI_LM, miniLM } from '@leantune/assets';
import { biasTuning, liteSideBranch, lowRankPrompt, s2a } from '@leantune/s2a';
import * as tf from '@tensorflow/tfjs';
import type { Task } from './compare.ts';

const batchSize = 8;

export async function questions(quick: boolean, seed: number): Promise<Task> {
  const { train, test, topics } = await cookingQuestions({ train: quick ? 32 : 600, test: quick ? 24 : 300 });
  const { weights, tokenize } = await miniLM();
  const kernel = tf.variable(tf.zeros<tf.Rank.R2>([MINI_LM.width, topics.length]), true, 'head.kernel');
  const bias = tf.variable(tf.zeros([topics.length]), true, 'head.bias');
  const model = { ...weights, 'head.kernel': kernel, 'head.bias': bias };
  const first = Object.values<tf.Variable>(model).map((v) => [v, v.clone()] as const);
  const logits = (texts: readonly string[]) =>
    tf.tidy(() => tf.matMul(embed(weights, tokenize(texts, 32)), kernel).add(bias) as tf.Tensor2D);

  const targets = Array.from({ length: MINI_LM.layers }, (_, i) => `encoder.layer.${i}.output.dense.weight`);
  const prompt = { targets, positions: 1, seed };
  const side = { width: 64, targets, head: 'head.kernel', seed };
  // The embeddings of words and of the second segment are not trained in any mode: most of them are not read.
  const all = [/^encoder\./, /^head\./, /^embeddings\.LayerNorm/];
  const head = ['head.kernel', 'head.bias'];
  return {
    title: 'MiniLM, questions about cooking',
    model,
    modes: {
      full: { rate: 2e-4, techniques: [], trainable: all },
      biases: { rate: 3e-3, techniques: [biasTuning()], trainable: head },
      prompt: { rate: 3e-3, techniques: [lowRankPrompt(prompt)], trainable: head },
      'side branch': { rate: 3e-3, techniques: [liteSideBranch(side)], trainable: head },
      S2A: { rate: 3e-3, techniques: s2a({ prompt, side }), trainable: head },
    },
    epochs: quick ? 1 : 3,
    batches: Math.floor(train.texts.length / batchSize),
    restart() {
      for (const [variable, value] of first) variable.assign(value);
      tf.tidy(() => kernel.assign(tf.randomNormal<tf.Rank.R2>(kernel.shape, 0, 0.02, 'float32', seed)));
    },
    loss(batch) {
      const [from, to] = [batch * batchSize, (batch + 1) * batchSize];
      return tf.tidy(() => {
        const wanted = tf.oneHot(tf.tensor1d(train.labels.slice(from, to), 'int32'), topics.length).toFloat();
        return tf.losses.softmaxCrossEntropy(wanted, logits(train.texts.slice(from, to)));
      });
    },
    accuracy: () => accuracyOn(test, logits, batchSize),
  };
}
