import * as tf from '@tensorflow/tfjs';

/** A model small enough for finite differences, with a batch and a loss. Equal seeds give equal bits. */
export interface TinyModel<M = unknown> {
  /** `'layers/residual'`. */
  readonly name: string;
  readonly kind: 'layers' | 'graph' | 'variables';
  /** What `finetune` takes. */
  readonly model: M;
  readonly x: readonly tf.Tensor[];
  readonly y: readonly tf.Tensor[];
  /** Outputs for `x`, in inference mode. */
  predict(): tf.Tensor[];
  /** Scalar loss of the batch, in training mode where the model has one. */
  loss(): tf.Scalar;
  /** Everything that may train, by name. */
  variables(): { [name: string]: tf.Variable };
  /** Every weight that is there, trained or not (moving statistics, a graph's constants), by name. Borrowed. */
  weights(): { [name: string]: tf.Tensor };
  dispose(): void;
}

export type MakeTinyModel<M = unknown> = (seed?: number) => TinyModel<M> | Promise<TinyModel<M>>;

/** Normal values of standard deviation `scale`. */
export function seeded(shape: number[], seed: number, scale = 1): tf.Tensor {
  return tf.randomNormal(shape, 0, scale, 'float32', seed);
}

/** Tokens below `vocabulary`. */
export function seededTokens(shape: number[], vocabulary: number, seed: number): tf.Tensor {
  return tf.tidy(() => tf.randomUniform(shape, 0, vocabulary, 'float32', seed).floor().toInt());
}

/** One-hot rows [n, classes]. */
export function seededLabels(n: number, classes: number, seed: number): tf.Tensor {
  return tf.tidy(() => tf.oneHot(seededTokens([n], classes, seed) as tf.Tensor1D, classes).toFloat());
}

/** Σ mean (y − p)² over the outputs. */
export function squaredError(y: readonly tf.Tensor[], predictions: readonly tf.Tensor[]): tf.Scalar {
  return tf.tidy(() => tf.addN(y.map((target, i) => tf.losses.meanSquaredError(target, predictions[i]!) as tf.Scalar)));
}

/** −Σ y log p, mean over rows. */
export function crossEntropy(y: readonly tf.Tensor[], predictions: readonly tf.Tensor[]): tf.Scalar {
  return tf.tidy(() => tf.addN(y.map((target, i) => tf.metrics.categoricalCrossentropy(target, predictions[i]!).mean() as tf.Scalar)));
}

export function asList<T>(value: T | T[]): T[] {
  return Array.isArray(value) ? value : [value];
}
