/**
 * A vision transformer as a plain function over `{ name: tf.Variable }`, in Hugging Face's names, with linear kernels stored [in, out]:
 * images in patches and a class token, norms before each part, erf GELU, a linear classifier on the class token.
 * Written as a user would: ordinary ops and one `tf.tidy` a block. Dosovitskiy et al. 2020, arXiv 2010.11929.
 */
import * as tf from '@tensorflow/tfjs-core';
import { attend, gelu, get, layerNorm, linear, type Parameters, type RunBlock, seededParameters, splitHeads } from './transformer-ops.ts';

export interface VitOptions {
  readonly layers: number;
  readonly width: number;
  readonly heads: number;
  /** Units of the feed-forward layer. */
  readonly inner: number;
  /** Pixels a side, of the image and of a patch. */
  readonly size: number;
  readonly patch: number;
  readonly classes: number;
}

/** Images [batch, size, size, 3] to logits [batch, classes]. */
export function look(p: Parameters, options: VitOptions, images: tf.Tensor, run: RunBlock): tf.Tensor {
  let x = run((value) => embed(p, options, value as tf.Tensor4D), images);
  for (let i = 0; i < options.layers; i++) x = run((value) => layer(p, `vit.encoder.layer.${i}`, options, value), x);
  return run(
    (value) => tf.squeeze(linear(p, 'classifier', tf.slice(layerNorm(p, 'vit.layernorm', value), [0, 0, 0], [-1, 1, -1])), [1]),
    x,
  );
}

export const vitParameters = (options: VitOptions, next: () => number): Parameters => seededParameters(parameterShapes(options), next);

function* parameterShapes({ layers, width, inner, size, patch, classes }: VitOptions): Generator<[string, number[]]> {
  const linear = function* (name: string, dIn: number, dOut: number): Generator<[string, number[]]> {
    yield [`${name}.weight`, [dIn, dOut]];
    yield [`${name}.bias`, [dOut]];
  };
  const norm = function* (name: string): Generator<[string, number[]]> {
    yield [`${name}.weight`, [width]];
    yield [`${name}.bias`, [width]];
  };
  yield ['vit.embeddings.cls_token', [1, 1, width]];
  yield ['vit.embeddings.position_embeddings', [1, (size / patch) ** 2 + 1, width]];
  yield ['vit.embeddings.patch_embeddings.projection.weight', [patch, patch, 3, width]];
  yield ['vit.embeddings.patch_embeddings.projection.bias', [width]];
  for (let i = 0; i < layers; i++) {
    const name = `vit.encoder.layer.${i}`;
    yield* norm(`${name}.layernorm_before`);
    for (const part of ['attention.query', 'attention.key', 'attention.value', 'output.dense'])
      yield* linear(`${name}.attention.${part}`, width, width);
    yield* norm(`${name}.layernorm_after`);
    yield* linear(`${name}.intermediate.dense`, width, inner);
    yield* linear(`${name}.output.dense`, inner, width);
  }
  yield* norm('vit.layernorm');
  yield* linear('classifier', width, classes);
}

function embed(p: Parameters, { size, patch, width }: VitOptions, images: tf.Tensor4D): tf.Tensor {
  const name = 'vit.embeddings';
  const filter = get(p, `${name}.patch_embeddings.projection.weight`) as tf.Tensor4D;
  const map = tf.add(tf.conv2d(images, filter, patch, 'valid'), get(p, `${name}.patch_embeddings.projection.bias`));
  const patches = tf.reshape(map, [-1, (size / patch) ** 2, width]) as tf.Tensor3D; // [batch, patches, width]
  const first = tf.tile(get(p, `${name}.cls_token`) as tf.Tensor3D, [patches.shape[0], 1, 1]);
  return tf.add(tf.concat([first, patches], 1), get(p, `${name}.position_embeddings`));
}

function layer(p: Parameters, name: string, { heads }: VitOptions, x: tf.Tensor): tf.Tensor {
  const normal = layerNorm(p, `${name}.layernorm_before`, x);
  const split = (part: string) => splitHeads(linear(p, `${name}.attention.attention.${part}`, normal), heads);
  const context = attend(split('query'), split('key'), split('value')); // [batch, tokens, width]
  const y = tf.add(x, linear(p, `${name}.attention.output.dense`, context));
  const hidden = gelu(linear(p, `${name}.intermediate.dense`, layerNorm(p, `${name}.layernorm_after`, y)));
  return tf.add(y, linear(p, `${name}.output.dense`, hidden)); // hidden: [batch, tokens, inner]
}
