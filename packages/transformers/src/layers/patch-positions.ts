/** Puts learned tokens before the patches of an image, and adds learned positions (Dosovitskiy et al. 2020, arXiv 2010.11929). */
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers } from '@tensorflow/tfjs-layers';
import type { StoredWeight } from './stored.ts';
import { type Called, type LayerConfig, only, type Shape } from './tensors.ts';

export interface PatchPositionsConfig extends LayerConfig {
  /** What goes first: `cls`, and for DeiT `distillation` (Touvron et al. 2020, arXiv 2012.12877). */
  readonly tokens: readonly string[];
}

/** patches [n, P, d] -> [n, tokens + P, d]. */
export class PatchPositions extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'PatchPositions';
  readonly config: PatchPositionsConfig;
  #weights!: readonly (readonly [name: string, weight: ReturnType<PatchPositions['addWeight']>])[];

  constructor(config: PatchPositionsConfig) {
    super(config);
    this.config = config;
  }

  get stored(): readonly StoredWeight[] {
    return this.#weights.map(([name, weight]) => ({ name, weight, layout: 'same' }));
  }

  override build([, patches, width]: Shape): void {
    const { tokens } = this.config;
    const normal = initializers.randomNormal({ stddev: 0.02 });
    const add = (name: string, length: number) => [name, this.addWeight(name, [1, length, width!], 'float32', normal)] as const;
    this.#weights = [...tokens.map((name) => add(`${name}_token`, 1)), add('position_embeddings', tokens.length + patches!)];
    this.built = true;
  }

  override call(inputs: Called): tf.Tensor {
    return tf.tidy(() => {
      const patches = only(inputs);
      const values = this.#weights.map(([, weight]) => weight.read());
      const first = values.slice(0, -1).map((token) => tf.tile(token, [patches.shape[0]!, 1, 1]));
      return tf.add(tf.concat([...first, patches], 1), values.at(-1)!);
    });
  }

  override computeOutputShape([n, patches, width]: Shape): Shape {
    return [n!, patches! + this.config.tokens.length, width!];
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config } as unknown as tf.serialization.ConfigDict;
  }
}

tf.serialization.registerClass(PatchPositions);
