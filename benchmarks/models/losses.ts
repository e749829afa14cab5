/** LayersModels with a loss on one batch, for measurements that attach techniques to them. */
import { fromConfig } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, metrics } from '@tensorflow/tfjs-layers';
import type { EncoderOptions } from './encoder.ts';
import { makeSubject } from './subject.ts';

export interface ModelWithLoss {
  readonly model: LayersModel;
  readonly loss: () => tf.Scalar;
}

/** MiniLM's shape, as encoder.ts takes it; six layers of 384. */
export const miniLMShape = { layers: 6, width: 384, heads: 12, inner: 1536, vocabulary: 1000, tokens: 128, classes: 6 } as const;

/** An encoder as @leantune/transformers builds it. */
export function encoderWithLoss(
  batch: number,
  { layers, width, heads, inner, vocabulary, tokens, classes }: EncoderOptions = miniLMShape,
): ModelWithLoss {
  const config = {
    ...{ model_type: 'bert', vocab_size: vocabulary, hidden_size: width, num_hidden_layers: layers, num_attention_heads: heads },
    ...{ intermediate_size: inner, max_position_embeddings: tokens, type_vocab_size: 2, hidden_act: 'gelu', layer_norm_eps: 1e-12 },
  };
  const model = fromConfig(config, { task: 'sequence-classification', labels: classes });
  const ids = tf.randomUniform([batch, tokens], 0, vocabulary, 'int32', 5);
  const mask = tf.ones([batch, tokens], 'int32');
  const y = tf.oneHot(tf.mod(tf.range(0, batch, 1, 'int32'), tf.scalar(classes, 'int32')) as tf.Tensor1D, classes);
  const loss = () =>
    tf.tidy(() => tf.losses.softmaxCrossEntropy(y, model.apply([ids, mask], { training: true }) as tf.Tensor) as tf.Scalar);
  return { model, loss };
}

/** Images of 96 pixels in ten classes, batch norm in training mode. */
export function imagesWithLoss(name: 'mobilenet-v2' | 'resnet-50', batch: number): ModelWithLoss {
  const subject = makeSubject({ name, size: 96, width: 1, classes: 10 }, batch, 1);
  if (subject.kind !== 'layers') throw new Error(`[benchmarks] ${name} is a LayersModel`);
  const { model, x, y } = subject;
  const loss = () =>
    tf.tidy(() => tf.mean(metrics.categoricalCrossentropy(y, model.apply(x, { training: true }) as tf.Tensor)) as tf.Scalar);
  return { model, loss };
}
