/**
 * A BERT encoder of MiniLM's shape as a plain function over `{ name: tf.Variable }`, in Hugging Face's names, with linear
 * kernels stored [in, out]. Post-norm, erf GELU, mean pooling over the unmasked tokens, a linear classifier.
 * Written as a user would: ordinary ops and one `tf.tidy` a block.
 * Devlin et al. 2018, arXiv 1810.04805; Wang et al. 2020, arXiv 2002.10957 (6 layers of 384).
 */
import * as tf from '@tensorflow/tfjs-core';
import { attend, gelu, get, layerNorm, linear, type Parameters, type RunBlock, seededParameters, splitHeads } from './transformer-ops.ts';

export interface EncoderOptions {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** Units of the feed-forward layer. */
  readonly inner: number;
  readonly vocabulary: number;
  readonly tokens: number;
  readonly classes: number;
}

/** Ids int32 [batch, tokens] and mask [batch, tokens] to logits [batch, classes]: embeddings, layers and classifier, each run by `run`. */
export function encode(p: Parameters, options: EncoderOptions, ids: tf.Tensor, mask: tf.Tensor2D, run: RunBlock): tf.Tensor {
  let x = run((value) => embed(p, value), ids);
  for (let i = 0; i < options.layers; i++) {
    x = run((value) => layer(p, `encoder.layer.${i}`, options, value, mask), x);
  }
  return run((value) => classify(p, value, mask), x);
}

export const encoderParameters = (options: EncoderOptions, next: () => number): Parameters =>
  seededParameters(parameterShapes(options), next);

function* parameterShapes({ layers, width, inner, vocabulary, tokens, classes }: EncoderOptions): Generator<[string, number[]]> {
  const linear = function* (name: string, dIn: number, dOut: number): Generator<[string, number[]]> {
    yield [`${name}.weight`, [dIn, dOut]];
    yield [`${name}.bias`, [dOut]];
  };
  const norm = function* (name: string): Generator<[string, number[]]> {
    yield [`${name}.weight`, [width]];
    yield [`${name}.bias`, [width]];
  };
  yield ['embeddings.word_embeddings.weight', [vocabulary, width]];
  yield ['embeddings.position_embeddings.weight', [tokens, width]];
  yield ['embeddings.token_type_embeddings.weight', [2, width]];
  yield* norm('embeddings.LayerNorm');
  for (let i = 0; i < layers; i++) {
    const name = `encoder.layer.${i}`;
    for (const part of ['self.query', 'self.key', 'self.value', 'output.dense']) yield* linear(`${name}.attention.${part}`, width, width);
    yield* norm(`${name}.attention.output.LayerNorm`);
    yield* linear(`${name}.intermediate.dense`, width, inner);
    yield* linear(`${name}.output.dense`, inner, width);
    yield* norm(`${name}.output.LayerNorm`);
  }
  yield* linear('classifier', width, classes);
}

function embed(p: Parameters, ids: tf.Tensor): tf.Tensor {
  const words = tf.gather(get(p, 'embeddings.word_embeddings.weight'), ids as tf.Tensor2D); // [batch, tokens, width]
  const types = tf.gather(get(p, 'embeddings.token_type_embeddings.weight'), tf.zerosLike(ids) as tf.Tensor2D);
  const positions = get(p, 'embeddings.position_embeddings.weight'); // [tokens, width], broadcast over the batch
  return layerNorm(p, 'embeddings.LayerNorm', tf.add(tf.add(words, types), positions));
}

function layer(p: Parameters, name: string, options: EncoderOptions, x: tf.Tensor, mask: tf.Tensor2D): tf.Tensor {
  const attended = linear(p, `${name}.attention.output.dense`, attention(p, `${name}.attention.self`, options, x, mask));
  const y = layerNorm(p, `${name}.attention.output.LayerNorm`, tf.add(x, attended)); // [batch, tokens, width]
  const hidden = gelu(linear(p, `${name}.intermediate.dense`, y)); // [batch, tokens, inner]
  return layerNorm(p, `${name}.output.LayerNorm`, tf.add(y, linear(p, `${name}.output.dense`, hidden)));
}

function attention(p: Parameters, name: string, { heads }: EncoderOptions, x: tf.Tensor, mask: tf.Tensor2D): tf.Tensor {
  const [batch, tokens] = mask.shape;
  const [query, key, value] = ['query', 'key', 'value'].map((part) => splitHeads(linear(p, `${name}.${part}`, x), heads));
  return attend(query!, key!, value!, tf.reshape(tf.mul(tf.sub(1, mask), -1e9), [batch, 1, 1, tokens]));
}

function classify(p: Parameters, x: tf.Tensor, mask: tf.Tensor2D): tf.Tensor {
  const weights = tf.expandDims(mask, 2); // [batch, tokens, 1]
  const mean = tf.div(tf.sum(tf.mul(x, weights), 1), tf.sum(weights, 1)); // [batch, width]
  return tf.add(tf.matMul(mean as tf.Tensor2D, get(p, 'classifier.weight') as tf.Tensor2D), get(p, 'classifier.bias'));
}
