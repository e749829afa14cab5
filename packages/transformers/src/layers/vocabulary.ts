/** From hidden states to the vocabulary: logits to look at, or losses that are never held as logits. */
import * as tf from '@tensorflow/tfjs-core';
import { layers } from '@tensorflow/tfjs-layers';
import { linearCrossEntropy, type PackedTable, packedMatMul } from '../blocks/index.ts';
import { type HeldPacked, heldPacked, type PackedWeights, type Storage, tableOf } from './packed-weights.ts';
import type { StoredWeight } from './stored.ts';
import { addTable, storedTable } from './table.ts';
import { type Called, firstShape, type LayerConfig, listOf, type Shape } from './tensors.ts';

/** hidden [n, T, d], weight [vocabulary, d] -> [n, T, vocabulary]. */
export function logitsOf(hidden: tf.Tensor, weight: tf.Tensor | PackedTable): tf.Tensor {
  const [n, length, width] = hidden.shape as [number, number, number];
  const rows = tf.reshape(hidden, [n * length, width]);
  const logits = weight instanceof tf.Tensor ? tf.matMul(rows, weight, false, true) : packedMatMul(rows, weight);
  return tf.reshape(logits, [n, length, logits.shape[1]!]);
}

/**
 * hidden [n, T, d], labels [n, T] -> [n, 2]: a row's sum of the losses of predicting each token from those before it, and how many
 * there are. Labels are the tokens themselves, as Hugging Face has them; below 0 they do not count.
 */
export function lossesOf(hidden: tf.Tensor, weight: tf.Tensor | PackedTable, labels: tf.Tensor): tf.Tensor {
  const [n, length, width] = hidden.shape as [number, number, number];
  const before = tf.reshape(tf.slice(hidden, [0, 0, 0], [-1, length - 1, -1]), [-1, width]);
  const next = tf.reshape(tf.slice(tf.cast(labels, 'int32'), [0, 1], [-1, -1]), [-1]);
  const losses = tf.reshape(linearCrossEntropy(before, weight, next), [n, length - 1]);
  const counted = tf.cast(tf.reshape(tf.greaterEqual(next, 0), [n, length - 1]), 'float32');
  return tf.stack([tf.sum(losses, 1), tf.sum(counted, 1)], 1);
}

export function vocabularyShape(inputShape: Shape | Shape[], size: number): Shape {
  const shape = firstShape(inputShape);
  return Array.isArray(inputShape[0]) && inputShape.length === 2 ? [shape[0]!, 2] : [...shape.slice(0, -1), size];
}

export interface VocabularyHeadConfig extends LayerConfig {
  readonly size: number;
  /** @default 'float32' */
  readonly storage?: Storage;
}

/** An output table of its own, for a model whose output is not tied: hidden states -> logits, or with labels beside them -> [n, 2]. */
export class VocabularyHead extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'VocabularyHead';
  readonly config: VocabularyHeadConfig;
  weight?: ReturnType<VocabularyHead['addWeight']>;
  packed?: PackedWeights<ReturnType<VocabularyHead['addWeight']>>;

  constructor(config: VocabularyHeadConfig) {
    super(config);
    this.config = config;
  }

  get stored(): readonly StoredWeight[] {
    return storedTable(this);
  }

  get packedWeight(): HeldPacked | undefined {
    return heldPacked(this.packed, 'weight');
  }

  override build(inputShape: Shape | Shape[]): void {
    const width = firstShape(inputShape).at(-1)!;
    const { size, storage } = this.config;
    const table = addTable(this.name, [size, width], storage, (name, shape, dtype, initializer, trains) =>
      this.addWeight(name, shape, dtype, initializer, undefined, trains),
    );
    Object.assign(this, table);
    this.built = true;
  }

  override call(inputs: Called): tf.Tensor {
    return tf.tidy(() => {
      const [hidden, labels] = listOf(inputs) as [tf.Tensor, tf.Tensor?];
      this.packed?.observe?.(tf.reshape(hidden, [-1, hidden.shape[2]!]));
      const table = this.packed ? tableOf(this.packed) : this.weight!.read();
      return labels ? lossesOf(hidden, table, labels) : logitsOf(hidden, table);
    });
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    return vocabularyShape(inputShape, this.config.size);
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

tf.serialization.registerClass(VocabularyHead);
