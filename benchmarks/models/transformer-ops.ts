/** The pieces that transformers are written of here, as a user of tfjs writes them: ordinary ops over `{ name: tf.Variable }`. */
import * as tf from '@tensorflow/tfjs-core';
import { uniform } from './random.ts';

export type Parameters = { readonly [name: string]: tf.Variable };

/** Runs one block of a model on its input: as it is, in a tidy, in a checkpoint. */
export type RunBlock = (block: (x: tf.Tensor) => tf.Tensor, x: tf.Tensor) => tf.Tensor;

/** Seeded variables of these shapes: BERT's standard deviation of 0.02 as a uniform distribution, ones for norms, zeros for biases. */
export function seededParameters(shapes: Iterable<readonly [string, number[]]>, next: () => number): Parameters {
  const parameters: { [name: string]: tf.Variable } = {};
  for (const [name, shape] of shapes) {
    const size = shape.reduce((a, b) => a * b, 1);
    const values = /norm\w*\.weight$/i.test(name)
      ? new Float32Array(size).fill(1)
      : uniform(size, shape.length > 1 ? 0.02 * Math.sqrt(3) : 0, next);
    const initial = tf.tensor(values, shape, 'float32');
    parameters[name] = tf.variable(initial);
    initial.dispose();
  }
  return parameters;
}

export function get(p: Parameters, name: string): tf.Variable {
  const variable = p[name];
  if (variable === undefined) throw new Error(`[models] no parameter "${name}"`);
  return variable;
}

/** x·W (+ b, if there is one) on [batch, tokens, dIn], as one matrix product over all tokens. */
export function linear(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const [batch, tokens, dIn] = x.shape as [number, number, number];
  const y = tf.matMul(tf.reshape(x, [batch * tokens, dIn]), get(p, `${name}.weight`) as tf.Tensor2D);
  const bias = p[`${name}.bias`];
  return tf.reshape(bias ? tf.add(y, bias) : y, [batch, tokens, -1]);
}

/** (x - mean) / sqrt(variance + ε) · gamma + beta over the last axis. */
export function layerNorm(p: Parameters, name: string, x: tf.Tensor): tf.Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  const normal = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-12)));
  return tf.add(tf.mul(normal, get(p, `${name}.weight`)), get(p, `${name}.bias`));
}

/** x · (1 + erf(x / √2)) / 2: Hendrycks and Gimpel 2016, arXiv 1606.08415. */
export function gelu(x: tf.Tensor): tf.Tensor {
  return tf.mul(tf.mul(x, 0.5), tf.add(1, tf.erf(tf.div(x, Math.SQRT2))));
}

/** [batch, tokens, width] -> [batch, heads, tokens, width / heads] */
export function splitHeads(x: tf.Tensor, heads: number): tf.Tensor4D {
  const [batch, tokens, width] = x.shape as [number, number, number];
  return tf.transpose(tf.reshape(x, [batch, tokens, heads, width / heads]), [0, 2, 1, 3]);
}

/** softmax(q kᵀ / √d + hide) v of [batch, heads, tokens, d] -> [batch, tokens, heads · d]; `hide` is −∞ where nobody may look. */
export function attend(query: tf.Tensor4D, key: tf.Tensor4D, value: tf.Tensor4D, hide?: tf.Tensor): tf.Tensor {
  const [batch, heads, tokens, d] = query.shape;
  const scores = tf.mul(tf.matMul(query, key, false, true), 1 / Math.sqrt(d)); // [batch, heads, tokens, tokens]
  const context = tf.matMul(tf.softmax(hide ? tf.add(scores, hide) : scores), value);
  return tf.reshape(tf.transpose(context, [0, 2, 1, 3]), [batch, tokens, heads * d]);
}
