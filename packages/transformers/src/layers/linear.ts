/**
 * y = x W + b over the last axis, as one fused product. What differs from tfjs's Dense: W is read as it lies, where Dense transposes it
 * at every call, and the bias is part of the product. W may be held in few bits, frozen.
 */
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers } from '@tensorflow/tfjs-layers';
import { packedMatMul } from '../blocks/index.ts';
import {
  addPacked,
  type HeldPacked,
  heldPacked,
  type PackedWeights,
  packingOf,
  type Storage,
  storedPacked,
  tableOf,
} from './packed-weights.ts';
import type { StoredWeight } from './stored.ts';
import { type LayerConfig, only, type Shape } from './tensors.ts';

export interface LinearConfig extends LayerConfig {
  readonly units: number;
  /** @default true */
  readonly useBias?: boolean;
  /** How a checkpoint holds W: PyTorch's Linear has [out, in], GPT-2's Conv1D has [in, out]. @default 'transposed' */
  readonly layout?: 'same' | 'transposed';
  /** @default 'float32' */
  readonly storage?: Storage;
}

export class Linear extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'Linear';
  readonly siteKind = ['dense', 'kernel'] as const;
  readonly config: LinearConfig;
  /** W [in, out], unless it is packed. */
  kernel?: ReturnType<Linear['addWeight']>;
  packed?: PackedWeights<ReturnType<Linear['addWeight']>>;
  bias?: ReturnType<Linear['addWeight']>;

  constructor(config: LinearConfig) {
    super(config);
    this.config = config;
  }

  get stored(): readonly StoredWeight[] {
    const { layout = 'transposed' } = this.config;
    const kernel = this.packed
      ? storedPacked(this.packed, layout === 'same')
      : ({ name: 'weight', weight: this.kernel!, layout } satisfies StoredWeight);
    return this.bias ? [kernel, { name: 'bias', weight: this.bias, layout: 'same' }] : [kernel];
  }

  get packedWeight(): HeldPacked | undefined {
    return heldPacked(this.packed, 'kernel', true);
  }

  override build(inputShape: Shape): void {
    const { units, useBias = true, storage } = this.config;
    const width = inputShape.at(-1)!;
    const packing = packingOf(storage);
    if (packing) {
      this.packed = addPacked(this.name, packing, [units, width], (...weight) => this.addWeight(...weight, undefined, false));
    } else {
      const normal = initializers.randomNormal({ stddev: 0.02 }); // BERT's and GPT-2's initializer_range
      this.kernel = this.addWeight('kernel', [width, units], 'float32', normal);
    }
    if (useBias) this.bias = this.addWeight('bias', [units], 'float32', initializers.zeros());
    this.built = true;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const x = only(inputs);
      const y = this.#multiply(tf.reshape(x, [-1, x.shape.at(-1)!]));
      return tf.reshape(y, [...x.shape.slice(0, -1), this.config.units]);
    });
  }

  #multiply(a: tf.Tensor2D): tf.Tensor {
    const bias = this.bias?.read();
    if (this.packed) {
      this.packed.observe?.(a);
      const y = packedMatMul(a, tableOf(this.packed));
      return bias ? tf.add(y, bias) : y;
    }
    const b = this.kernel!.read() as tf.Tensor2D;
    return bias ? tf.fused.matMul({ a, b, bias }) : tf.matMul(a, b);
  }

  override computeOutputShape(inputShape: Shape): Shape {
    return [...inputShape.slice(0, -1), this.config.units];
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

tf.serialization.registerClass(Linear);
