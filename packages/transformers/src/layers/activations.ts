/** GELU of one input, SwiGLU of two. */
import * as tf from '@tensorflow/tfjs-core';
import { layers } from '@tensorflow/tfjs-layers';
import { gelu, swiglu } from '../blocks/index.ts';
import { type Called, firstShape, type LayerConfig, listOf, only, type Shape } from './tensors.ts';

export interface GeluConfig extends LayerConfig {
  /** By tanh, as GPT-2 does. */
  readonly approximate: boolean;
}

export class Gelu extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'Gelu';
  readonly siteKind = ['activation'] as const;
  readonly config: GeluConfig;

  constructor(config: GeluConfig) {
    super(config);
    this.config = config;
  }

  override call(inputs: Called): tf.Tensor {
    return gelu(only(inputs), this.config.approximate);
  }

  override computeOutputShape(inputShape: Shape): Shape {
    return inputShape;
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

/** [gate, up], both [n, T, m] -> [n, T, m]. */
export class SwiGlu extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'SwiGlu';

  override call(inputs: Called): tf.Tensor {
    const [gate, up] = listOf(inputs);
    return swiglu(gate!, up!);
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return firstShape(inputShape);
  }
}

tf.serialization.registerClass(Gelu);
tf.serialization.registerClass(SwiGlu);
