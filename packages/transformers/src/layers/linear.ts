/**
 * y = x W + b over the last axis, as one fused product. What differs from tfjs's Dense: W is read as it lies, where Dense transposes it
 * at every call, and the bias is part of the product.
 */
import * as tf from '@tensorflow/tfjs-core';
import { initializers, layers } from '@tensorflow/tfjs-layers';
import type { StoredWeight } from './stored.ts';
import { type LayerConfig, only, type Shape } from './tensors.ts';

export interface LinearConfig extends LayerConfig {
  readonly units: number;
  /** @default true */
  readonly useBias?: boolean;
  /** How a checkpoint holds W: PyTorch's Linear has [out, in], GPT-2's Conv1D has [in, out]. @default 'transposed' */
  readonly layout?: 'same' | 'transposed';
}

export class Linear extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'Linear';
  readonly siteKind = ['dense', 'kernel'] as const;
  readonly config: LinearConfig;
  kernel!: ReturnType<Linear['addWeight']>;
  bias?: ReturnType<Linear['addWeight']>;

  constructor(config: LinearConfig) {
    super(config);
    this.config = config;
  }

  get stored(): readonly StoredWeight[] {
    const kernel = { name: 'weight', weight: this.kernel, layout: this.config.layout ?? 'transposed' } as const;
    return this.bias ? [kernel, { name: 'bias', weight: this.bias, layout: 'same' }] : [kernel];
  }

  override build(inputShape: Shape): void {
    const { units, useBias = true } = this.config;
    const normal = initializers.randomNormal({ stddev: 0.02 }); // BERT's and GPT-2's initializer_range
    this.kernel = this.addWeight('kernel', [inputShape.at(-1)!, units], 'float32', normal);
    if (useBias) this.bias = this.addWeight('bias', [units], 'float32', initializers.zeros());
    this.built = true;
  }

  override call(inputs: tf.Tensor | tf.Tensor[]): tf.Tensor {
    return tf.tidy(() => {
      const x = only(inputs);
      const [a, b] = [tf.reshape(x, [-1, x.shape.at(-1)!]) as tf.Tensor2D, this.kernel.read() as tf.Tensor2D];
      const y = this.bias ? tf.fused.matMul({ a, b, bias: this.bias.read() }) : tf.matMul(a, b);
      return tf.reshape(y, [...x.shape.slice(0, -1), this.config.units]);
    });
  }

  override computeOutputShape(inputShape: Shape): Shape {
    return [...inputShape.slice(0, -1), this.config.units];
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

tf.serialization.registerClass(Linear);
