/**
 * Training a language model. Its logits are tokens × vocabulary numbers, mostly larger than everything else together; the losses need
 * not be. A model that ends in losses shares the layers of one that ends in logits, and computes them without.
 */
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { input, type LayersModel, model as makeModel, type SymbolicTensor } from '@tensorflow/tfjs-layers';
import { Embedding, VocabularyHead } from './layers/index.ts';
import { share } from './references.ts';

/**
 * A model of the inputs of `model` and `labels` [n, T] int32, whose output is [n, 2]: per row the sum of the losses of predicting each
 * label from the tokens before it, and how many there are. Labels are the tokens themselves; those below 0 do not count.
 *
 * It shares the layers of `model`: what is trained here speaks there. Tune, compile and fit this one. Weights go when both are disposed.
 *
 * @throws FinetuneError `bad-model` for a model that does not end in logits of a vocabulary
 *
 * @example
 * const trainer = lossModel(model);
 * trainer.compile({ optimizer: tuned.optimizer(tf.train.adam(1e-4)), loss: meanLoss });
 * await trainer.fit([ids, labels], tf.zeros([n, 2]));
 */
export function lossModel(model: LayersModel): LayersModel {
  const logits = model.outputs[0]!;
  const head = logits.sourceLayer;
  const hidden = logits.inputs[0];
  if (!(head instanceof Embedding || head instanceof VocabularyHead) || logits.shape.length !== 3) {
    throw new FinetuneError(
      'bad-model',
      'lossModel',
      `got a model that ends in "${head.name}" (${head.getClassName()}); expected a language model. Load it with task: 'causal-lm'.`,
    );
  }
  const labels = input({ name: 'labels', shape: [null], dtype: 'int32' });
  const losses = head.apply([hidden!, labels]) as SymbolicTensor;
  (head as unknown as { _refCount: number })._refCount--; // counted by `share`
  return share(model, makeModel({ inputs: [...model.inputs, labels], outputs: losses, name: `${model.name}_loss` }));
}

/** For `compile`: the mean over all counted tokens of a batch. Takes what {@link lossModel} gives; targets are not read. */
export function meanLoss(_targets: tf.Tensor, losses: tf.Tensor): tf.Scalar {
  return tf.tidy(() => {
    const [sum, count] = tf.unstack(tf.sum(losses, 0)) as [tf.Scalar, tf.Scalar];
    return tf.div(sum, tf.maximum(count, 1));
  });
}
