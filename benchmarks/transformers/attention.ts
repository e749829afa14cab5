/**
 * What attention takes while it is trained: this package's, by blocks, and the plain one of matMul, softmax and matMul, whose scores wait.
 * One process a backend:
 *
 *   npx tsx --conditions=@leantune/source benchmarks/transformers/attention.ts [tensorflow | webgpu | wasm]
 *
 * Bytes of all tensors above q, k and v, in forward and backward of one causal layer; exact. The plain one is left out where a backend
 * cannot hold its scores.
 */
import { writeFileSync } from 'node:fs';
import { useBackend } from '@leantune/backends';
import { measure, valueAndGrads } from '@leantune/core';
import { attention } from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import { at } from '../documents.ts';
import { type Provenance, provenance } from '../reliability/result.ts';

interface Bytes {
  readonly peak: number;
  readonly kept: number;
}

export interface AttentionResult extends Provenance {
  readonly backend: string;
  readonly heads: number;
  readonly headSize: number;
  readonly rows: readonly { readonly tokens: number; readonly ours: Bytes; readonly plain: Bytes | null }[];
}

const [heads, headSize] = [4, 32];
/** The plain one on webgpu would bind buffers beyond the smallest limit, 128 MiB. */
const longestPlain: { readonly [backend: string]: number } = { tensorflow: 4096, wasm: 2048, webgpu: 1024 };

type Mix = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) => tf.Tensor;

const byBlocks: Mix = (q, k, v) =>
  attention(q, k, v, undefined, { heads, kvHeads: heads, scale: headSize ** -0.5, causal: true, window: 0 });

const plainly: Mix = (q, k, v) => {
  const tokens = q.shape[1]!;
  const split = (x: tf.Tensor) => tf.transpose(tf.reshape(x, [1, tokens, heads, headSize]), [0, 2, 1, 3]);
  const scores = tf.mul(tf.matMul(split(q), split(k), false, true), headSize ** -0.5);
  const order = tf.range(0, tokens, 1, 'int32');
  const later = tf.mul(tf.cast(tf.greater(tf.expandDims(order, 0), tf.expandDims(order, 1)), 'float32'), -1e9);
  return tf.matMul(tf.softmax(tf.add(scores, later)), split(v));
};

async function bytesOf(mix: Mix, tokens: number): Promise<Bytes> {
  const inputs = [1, 2, 3].map((seed) => tf.tidy(() => tf.variable(tf.randomNormal([1, tokens, heads * headSize], 0, 1, 'float32', seed))));
  const [q, k, v] = inputs as [tf.Variable, tf.Variable, tf.Variable];
  const { result, memory } = await measure(() => valueAndGrads(() => tf.sum(mix(q, k, v)) as tf.Scalar, inputs));
  await result.value.data();
  tf.dispose([inputs, result.value, result.grads] as tf.TensorContainer);
  return { peak: memory.peakBytes - memory.atPeak.weights, kept: memory.keptBytes };
}

const [backend = 'tensorflow'] = process.argv.slice(2);
await useBackend(backend as 'tensorflow');
const rows = [];
for (const tokens of [512, 1024, 2048, 4096]) {
  const ours = await bytesOf(byBlocks, tokens);
  const plain = tokens <= longestPlain[backend]! ? await bytesOf(plainly, tokens) : null;
  rows.push({ tokens, ours, plain });
  console.log(backend, tokens, ours, plain);
}
const result: AttentionResult = { ...provenance(`transformers/attention.ts ${backend}`), backend, heads, headSize, rows };
writeFileSync(at(`transformers/results/attention-${backend}.json`), `${JSON.stringify(result, null, 2)}\n`);
process.exit(0); // Dawn keeps a process alive
