/**
 * Attention over what the projections q, k and v made: rotary positions, then the mix of values. Has no weights, so that every weight of
 * the model belongs to a layer that techniques know.
 */
import * as tf from '@tensorflow/tfjs-core';
import { layers } from '@tensorflow/tfjs-layers';
import { attention, rope } from '../blocks/index.ts';
import type { Decoding } from './decoding.ts';
import { refuseLong } from './input-checks.ts';
import { type RopeConfig, rotary } from './rotary.ts';
import { type Called, firstShape, type LayerConfig, listOf, type Shape } from './tensors.ts';

export interface AttentionConfig extends LayerConfig {
  readonly heads: number;
  /** Heads of keys and values. */
  readonly kvHeads: number;
  readonly headSize: number;
  readonly causal: boolean;
  /** A token sees so many tokens, itself included; 0: all. @default 0 */
  readonly window?: number;
  /** @default 1 / √headSize */
  readonly scale?: number;
  readonly rope?: RopeConfig;
  /** The longest text that positions were learnt for. @default any */
  readonly positions?: number;
  /** The inputs are q, k, v [, mask]; or one tensor with all three beside each other [, mask]. @default false */
  readonly fused?: boolean;
}

/** Inputs: q [n, T, heads · d], k and v [n, T, kvHeads · d], and the mask [n, T], if the model has one. */
export class Attention extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'Attention';
  readonly config: AttentionConfig;
  /** What it remembers of earlier tokens, while the model generates. */
  decoding: Decoding | undefined;

  constructor(config: AttentionConfig) {
    super(config);
    this.config = config;
  }

  override call(inputs: Called): tf.Tensor {
    const { heads, kvHeads, headSize, causal, window = 0, scale = headSize ** -0.5, fused, positions } = this.config;
    return tf.tidy(() => {
      const given = listOf(inputs);
      const [q, k, v] = fused
        ? tf.split(
            given[0]!,
            [heads, kvHeads, kvHeads].map((n) => n * headSize),
            -1,
          )
        : given;
      if (positions !== undefined) refuseLong((this.decoding?.length ?? 0) + q!.shape[1]!, positions, 0, this.name);
      const mask = given[fused ? 1 : 3];
      const turned = [this.#turn(q!, heads), this.#turn(k!, kvHeads)] as const;
      const [keys, values] = this.decoding?.append(this, turned[1], v!) ?? [turned[1], v!];
      return attention(turned[0], keys, values, mask, { heads, kvHeads, scale, causal, window });
    });
  }

  #turn(x: tf.Tensor, heads: number): tf.Tensor {
    const { rope: config, headSize } = this.config;
    return config ? rope(x, { ...rotary(config, headSize), heads, offset: this.decoding?.length ?? 0 }) : x;
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return [...firstShape(inputShape).slice(0, -1), this.config.heads * this.config.headSize];
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config } as unknown as tf.serialization.ConfigDict;
  }
}

tf.serialization.registerClass(Attention);
