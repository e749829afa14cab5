/** From tokens to one vector: the first token's, or the mean over those that are not padding. */
import * as tf from '@tensorflow/tfjs-core';
import { layers } from '@tensorflow/tfjs-layers';
import { type Called, firstShape, type LayerConfig, listOf, only, type Shape } from './tensors.ts';

/** [n, T, d] -> [n, d]. */
export class FirstToken extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'FirstToken';

  override call(inputs: Called): tf.Tensor {
    return tf.tidy(() => tf.squeeze(tf.slice(only(inputs), [0, 0, 0], [-1, 1, -1]), [1]));
  }

  override computeOutputShape([n, , width]: Shape): Shape {
    return [n!, width!];
  }
}

export interface MeanPoolingConfig extends LayerConfig {
  /** Scales each vector to length 1, so that a dot product is the cosine. */
  readonly normalize: boolean;
}

/** [n, T, d] and the mask [n, T] -> [n, d], as sentence-transformers pools. */
export class MeanPooling extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'MeanPooling';
  readonly config: MeanPoolingConfig;

  constructor(config: MeanPoolingConfig) {
    super(config);
    this.config = config;
  }

  override call(inputs: Called): tf.Tensor {
    return tf.tidy(() => {
      const [hidden, mask] = listOf(inputs) as [tf.Tensor, tf.Tensor];
      const real = tf.expandDims(tf.cast(tf.notEqual(mask, 0), 'float32'), 2); // [n, T, 1]
      const mean = tf.div(tf.sum(tf.mul(hidden, real), 1), tf.maximum(tf.sum(real, 1), 1e-9));
      if (!this.config.normalize) return mean;
      return tf.div(mean, tf.maximum(tf.sqrt(tf.sum(tf.square(mean), 1, true)), 1e-12));
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const [n, , width] = firstShape(inputShape);
    return [n!, width!];
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

tf.serialization.registerClass(FirstToken);
tf.serialization.registerClass(MeanPooling);
