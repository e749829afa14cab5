/** RMSNorm and LayerNorm over the last axis, or over each piece of `width` values along it (the heads of Qwen3). */
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers } from '@tensorflow/tfjs-layers';
import { layerNorm, rmsNorm } from '../blocks/index.ts';
import type { StoredWeight } from './stored.ts';
import { type Called, type LayerConfig, only, type Shape } from './tensors.ts';

export interface NormConfig extends LayerConfig {
  readonly epsilon: number;
  /** @default the last axis */
  readonly width?: number;
}

export class RmsNorm extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'RmsNorm';
  readonly siteKind = ['layerNorm'] as const;
  readonly config: NormConfig;
  weight!: ReturnType<RmsNorm['addWeight']>;

  constructor(config: NormConfig) {
    super(config);
    this.config = config;
  }

  get stored(): readonly StoredWeight[] {
    return [{ name: 'weight', weight: this.weight, layout: 'same' }];
  }

  override build(inputShape: Shape): void {
    this.weight = this.addWeight('weight', [this.config.width ?? inputShape.at(-1)!], 'float32', initializers.ones());
    this.built = true;
  }

  override call(inputs: Called): tf.Tensor {
    return tf.tidy(() => {
      const x = only(inputs);
      const pieces = tf.reshape(x, [...x.shape.slice(0, -1), -1, this.weight.shape[0]!]);
      return tf.reshape(rmsNorm(pieces, this.weight.read(), this.config.epsilon), x.shape);
    });
  }

  override computeOutputShape(inputShape: Shape): Shape {
    return inputShape;
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

export class LayerNorm extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'LayerNorm';
  readonly siteKind = ['layerNorm'] as const;
  readonly config: NormConfig;
  weight!: ReturnType<LayerNorm['addWeight']>;
  bias!: ReturnType<LayerNorm['addWeight']>;

  constructor(config: NormConfig) {
    super(config);
    this.config = config;
  }

  get stored(): readonly StoredWeight[] {
    return [
      { name: 'weight', weight: this.weight, layout: 'same' },
      { name: 'bias', weight: this.bias, layout: 'same' },
    ];
  }

  override build(inputShape: Shape): void {
    this.weight = this.addWeight('weight', [inputShape.at(-1)!], 'float32', initializers.ones());
    this.bias = this.addWeight('bias', [inputShape.at(-1)!], 'float32', initializers.zeros());
    this.built = true;
  }

  override call(inputs: Called): tf.Tensor {
    return layerNorm(only(inputs), this.weight.read(), this.bias.read(), this.config.epsilon);
  }

  override computeOutputShape(inputShape: Shape): Shape {
    return inputShape;
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

tf.serialization.registerClass(RmsNorm);
tf.serialization.registerClass(LayerNorm);
