/** The transformers of the comparison as @leantune/transformers builds them, with seeded weights and a loss on one batch. */
import { fromConfig, linearCrossEntropy } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs-core';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { generator, integers, oneHotRows, uniform } from '../models/random.ts';
import type { ModelSpec } from '../models/subject.ts';

export interface WithLoss {
  readonly model: LayersModel;
  readonly loss: () => tf.Scalar;
}

type Spec<Name extends ModelSpec['name']> = Extract<ModelSpec, { name: Name }>;

export function blocksOf(spec: ModelSpec, batch: number, seed: number): WithLoss {
  const next = generator(seed);
  switch (spec.name) {
    case 'encoder':
      return encoder(spec, batch, next);
    case 'decoder':
      return decoder(spec, batch, next);
    case 'vit':
      return vit(spec, batch, next);
    default:
      throw new Error(`[compare] ${spec.name} is not made of blocks. Leave the word out.`);
  }
}

/** One text a row, so that no mask is needed. */
function encoder({ vocabulary, classes, ...sizes }: Spec<'encoder'>, batch: number, next: () => number): WithLoss {
  const config = { model_type: 'bert', vocab_size: vocabulary, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 };
  const model = fromConfig(
    { ...config, ...shapeOf(sizes), max_position_embeddings: sizes.tokens },
    { task: 'sequence-classification', labels: classes, inputs: ['input_ids'] },
  );
  const ids = tf.tensor2d(integers(batch * sizes.tokens, vocabulary, next), [batch, sizes.tokens], 'int32');
  return classifier(model, ids, classes, batch, next);
}

function vit({ classes, size, patch, ...sizes }: Spec<'vit'>, batch: number, next: () => number): WithLoss {
  const config = { model_type: 'vit', ...shapeOf(sizes), image_size: size, patch_size: patch, layer_norm_eps: 1e-12, hidden_act: 'gelu' };
  const model = fromConfig(config, { task: 'image-classification', labels: classes });
  return classifier(model, tf.tensor4d(uniform(batch * size * size * 3, 1, next), [batch, size, size, 3]), classes, batch, next);
}

function classifier(model: LayersModel, x: tf.Tensor, classes: number, batch: number, next: () => number): WithLoss {
  fill(model, next);
  const y = tf.tensor2d(oneHotRows(batch, classes, next), [batch, classes]);
  return { model, loss: () => tf.losses.softmaxCrossEntropy(y, model.apply(x, { training: true }) as tf.Tensor) as tf.Scalar };
}

/** Hidden states and a loss without logits: a model of one input, which `checkpoint: true` can cut; `lossModel` has two. */
function decoder({ vocabulary, tokens, ...sizes }: Spec<'decoder'>, batch: number, next: () => number): WithLoss {
  const config = { model_type: 'llama', vocab_size: vocabulary, max_position_embeddings: tokens, tie_word_embeddings: true };
  const model = fromConfig({ ...config, ...shapeOf(sizes), rms_norm_eps: 1e-5 }, { task: 'hidden-states' });
  fill(model, next);
  const ids = tf.tensor2d(integers(batch * tokens, vocabulary, next), [batch, tokens], 'int32');
  const labels = tf.tidy(() => tf.reshape(tf.slice(ids, [0, 1], [-1, -1]), [-1]));
  const table = model.weights.find(({ originalName }) => /embed_tokens/.test(originalName))!;
  const loss = () => {
    const hidden = tf.slice(model.apply(ids, { training: true }) as tf.Tensor, [0, 0, 0], [-1, tokens - 1, -1]);
    return tf.mean(linearCrossEntropy(tf.reshape(hidden, [-1, sizes.width]), table.read(), labels)) as tf.Scalar;
  };
  return { model, loss };
}

interface Sizes {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  readonly inner: number;
}

const shapeOf = ({ layers, width, heads, inner }: Sizes) => ({
  ...{ hidden_size: width, num_hidden_layers: layers, num_attention_heads: heads, intermediate_size: inner },
});

/** Matrices uniform with BERT's standard deviation of 0.02, norms one, the rest zero. */
function fill(model: LayersModel, next: () => number): void {
  for (const weight of model.weights) {
    const variable = weight.read() as tf.Variable;
    const isNorm = /norm\w*\/weight$/i.test(weight.originalName);
    const bound = variable.rank > 1 ? 0.02 * Math.sqrt(3) : 0;
    const values = tf.tensor(isNorm ? new Float32Array(variable.size).fill(1) : uniform(variable.size, bound, next), variable.shape);
    variable.assign(values);
    values.dispose();
  }
}
