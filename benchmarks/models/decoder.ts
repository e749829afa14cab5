/**
 * A Llama decoder as a plain function over `{ name: tf.Variable }`, in Hugging Face's names, with linear kernels stored [in, out]:
 * RMSNorm before each part, rotary positions, causal attention, SwiGLU, and the table of tokens for a head.
 * Written as a user would: ordinary ops and one `tf.tidy` a block. Touvron et al. 2023, arXiv 2302.13971.
 */
import * as tf from '@tensorflow/tfjs-core';
import { attend, get, linear, type Parameters, type RunBlock, seededParameters, splitHeads } from './transformer-ops.ts';

export interface DecoderOptions {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** Units of the feed-forward layer. */
  readonly inner: number;
  readonly vocabulary: number;
  readonly tokens: number;
}

/** What every layer reads: cos and sin [tokens, width / heads / 2] of the rotation, and −1e9 above the diagonal [tokens, tokens]. */
export interface Positions {
  readonly cos: tf.Tensor;
  readonly sin: tf.Tensor;
  readonly hide: tf.Tensor;
}

/** Ids int32 [batch, tokens] to logits [batch, tokens, vocabulary]. */
export function decode(p: Parameters, options: DecoderOptions, ids: tf.Tensor, positions: Positions, run: RunBlock): tf.Tensor {
  let x = run((value) => tf.gather(get(p, 'model.embed_tokens.weight'), value as tf.Tensor2D), ids);
  for (let i = 0; i < options.layers; i++) x = run((value) => layer(p, `model.layers.${i}`, options, value, positions), x);
  return run((value) => logits(p, rmsNorm(p, 'model.norm', value)), x);
}

export const decoderParameters = (options: DecoderOptions, next: () => number): Parameters =>
  seededParameters(parameterShapes(options), next);

/** Su et al. 2021, arXiv 2104.09864: frequencies 10000^(−2i/d). */
export function decoderPositions({ tokens, width, heads }: DecoderOptions): Positions {
  return tf.tidy(() => {
    const half = width / heads / 2;
    const frequencies = tf.pow(10_000, tf.div(tf.range(0, half), -half));
    const angles = tf.mul(tf.expandDims(tf.range(0, tokens), 1), frequencies); // [tokens, half]
    const above = tf.greater(tf.range(0, tokens), tf.expandDims(tf.range(0, tokens), 1));
    return { cos: tf.cos(angles), sin: tf.sin(angles), hide: tf.mul(tf.cast(above, 'float32'), -1e9) };
  });
}

function* parameterShapes({ layers, width, inner, vocabulary }: DecoderOptions): Generator<[string, number[]]> {
  yield ['model.embed_tokens.weight', [vocabulary, width]];
  for (let i = 0; i < layers; i++) {
    const name = `model.layers.${i}`;
    yield [`${name}.input_layernorm.weight`, [width]];
    for (const part of ['q', 'k', 'v', 'o']) yield [`${name}.self_attn.${part}_proj.weight`, [width, width]];
    yield [`${name}.post_attention_layernorm.weight`, [width]];
    for (const part of ['gate', 'up']) yield [`${name}.mlp.${part}_proj.weight`, [width, inner]];
    yield [`${name}.mlp.down_proj.weight`, [inner, width]];
  }
  yield ['model.norm.weight', [width]];
}

function layer(p: Parameters, name: string, { heads }: DecoderOptions, x: tf.Tensor, { cos, sin, hide }: Positions): tf.Tensor {
  const normal = rmsNorm(p, `${name}.input_layernorm`, x);
  const [query, key, value] = ['q', 'k', 'v'].map((part) => splitHeads(linear(p, `${name}.self_attn.${part}_proj`, normal), heads));
  const context = attend(rotate(query!, cos, sin), rotate(key!, cos, sin), value!, hide); // [batch, tokens, width]
  const y = tf.add(x, linear(p, `${name}.self_attn.o_proj`, context));
  const second = rmsNorm(p, `${name}.post_attention_layernorm`, y);
  const gate = linear(p, `${name}.mlp.gate_proj`, second); // [batch, tokens, inner]
  const hidden = tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(p, `${name}.mlp.up_proj`, second));
  return tf.add(y, linear(p, `${name}.mlp.down_proj`, hidden));
}

/** x / √(mean x² + ε) · gamma: Zhang and Sennrich 2019, arXiv 1910.07467. */
function rmsNorm(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const scale = tf.rsqrt(tf.add(tf.mean(tf.square(x), -1, true), 1e-5));
  return tf.mul(tf.mul(x, scale), get(p, `${name}.weight`));
}

/** Turns the halves of [batch, heads, tokens, d] against each other. */
function rotate(x: tf.Tensor4D, cos: tf.Tensor, sin: tf.Tensor): tf.Tensor4D {
  const [a, b] = tf.split(x, 2, 3) as [tf.Tensor4D, tf.Tensor4D];
  return tf.concat([tf.sub(tf.mul(a, cos), tf.mul(b, sin)), tf.add(tf.mul(b, cos), tf.mul(a, sin))], 3) as tf.Tensor4D;
}

/** By the transposed table of tokens. */
function logits(p: Parameters, x: tf.Tensor): tf.Tensor {
  const [batch, tokens, width] = x.shape as [number, number, number];
  const table = get(p, 'model.embed_tokens.weight') as tf.Tensor2D;
  return tf.reshape(tf.matMul(tf.reshape(x, [batch * tokens, width]), table, false, true), [batch, tokens, -1]);
}
