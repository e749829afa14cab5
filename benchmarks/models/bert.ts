/** A BERT classifier of MiniLM's shape by @leantune/transformers, with seeded weights: as `fromPretrained` gives it, less the reading. */
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import type { EncoderOptions } from './encoder.ts';
import { weightsOf } from './layers-model.ts';
import { uniform } from './random.ts';

/** [ids, mask], both int32 [n, tokens], to logits [n, classes]. */
export function bert({ layers, width, heads, inner, vocabulary, tokens, classes }: EncoderOptions, next: () => number): LayersModel {
  const config = {
    model_type: 'bert',
    num_hidden_layers: layers,
    hidden_size: width,
    num_attention_heads: heads,
    intermediate_size: inner,
    vocab_size: vocabulary,
    max_position_embeddings: tokens,
    type_vocab_size: 2,
  };
  const model = fromConfig(config, { task: 'sequence-classification', labels: classes });
  for (const { variable } of weightsOf(model)) {
    if (variable.rank < 2) continue; // norms and biases have their constants
    const values = tf.tensor(uniform(variable.size, 0.02 * Math.sqrt(3), next), variable.shape); // BERT's deviation of 0.02
    variable.assign(values);
    values.dispose();
  }
  return model;
}
