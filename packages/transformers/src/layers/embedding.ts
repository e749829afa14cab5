/**
 * A table of vectors, looked up by token or by position. A model whose output is tied to its input applies the same layer twice, as
 * flax's `attend`: tokens become vectors, and hidden states become logits; with labels beside them, losses.
 */
import * as tf from '@tensorflow/tfjs-core';
import { layers } from '@tensorflow/tfjs-layers';
import { gatherRows } from '../blocks/index.ts';
import type { Decoding } from './decoding.ts';
import { refuseLong, refuseUnknown } from './input-checks.ts';
import { type HeldPacked, heldPacked, type PackedWeights, tableOf as packedOf, type Storage } from './packed-weights.ts';
import type { StoredWeight } from './stored.ts';
import { addTable, storedTable } from './table.ts';
import { type Called, firstShape, type LayerConfig, listOf, only, type Shape } from './tensors.ts';
import { logitsOf, lossesOf, vocabularyShape } from './vocabulary.ts';

export interface EmbeddingConfig extends LayerConfig {
  /** Rows of the table. */
  readonly size: number;
  readonly width: number;
  /**
   * What picks a row: the token; its position; its position among tokens that are not `padding` (RoBERTa); or the first row for all.
   * @default 'token'
   */
  readonly by?: 'token' | 'position' | 'position-after-padding' | 'first';
  /** The token that fills up sequences. Only for 'position-after-padding'. */
  readonly padding?: number;
  /** @default 'float32' */
  readonly storage?: Storage;
}

/** tokens [n, T] -> [n, T, width]; hidden states [n, T, width] -> logits [n, T, size]; hidden states and labels [n, T] -> [n, 2]. */
export class Embedding extends layers.Layer {
  /** @nocollapse */
  static readonly className = 'TokenEmbedding';
  readonly siteKind = ['embedding', 'weight'] as const;
  readonly config: EmbeddingConfig;
  /** [size, width], unless it is packed. */
  weight?: ReturnType<Embedding['addWeight']>;
  packed?: PackedWeights<ReturnType<Embedding['addWeight']>>;
  /** Where generation is in the text. */
  decoding: Decoding | undefined;

  constructor(config: EmbeddingConfig) {
    super(config);
    this.config = config;
  }

  get stored(): readonly StoredWeight[] {
    return storedTable(this);
  }

  get packedWeight(): HeldPacked | undefined {
    return heldPacked(this.packed, 'weight');
  }

  override build(): void {
    const { size, width, storage } = this.config;
    const table = addTable(this.name, [size, width], storage, (name, shape, dtype, initializer, trains) =>
      this.addWeight(name, shape, dtype, initializer, undefined, trains),
    );
    Object.assign(this, table);
    this.built = true;
  }

  override call(inputs: Called): tf.Tensor {
    return tf.tidy(() => {
      const [x, labels] = listOf(inputs) as [tf.Tensor, tf.Tensor?];
      const table = this.weight?.read() ?? packedOf(this.packed!); // an adapter gives a weight of its own for a while
      if (x.rank === 3) this.packed?.observe?.(tf.reshape(x, [-1, this.config.width]));
      if (labels) return lossesOf(x, table, labels);
      if (x.rank === 3) return logitsOf(x, table);
      const rows = this.#rows(tf.cast(only(inputs), 'int32'));
      if (table instanceof tf.Tensor) return tf.gather(table, rows);
      return tf.reshape(gatherRows(table, tf.reshape(rows, [-1])), [...rows.shape, this.config.width]);
    });
  }

  #rows(tokens: tf.Tensor): tf.Tensor {
    const { by = 'token', padding = 0, size } = this.config;
    const [n, length] = tokens.shape as [number, number];
    if (by === 'token') return refuseUnknown(tokens, size, this.name);
    if (by === 'first') return tf.zeros([n, length], 'int32');
    const offset = this.decoding?.length ?? 0;
    const before = by === 'position' ? 0 : padding + 1; // RoBERTa's rows begin behind that of padding
    refuseLong(offset + length + before, size, before, this.name);
    if (by === 'position') return tf.tile(tf.expandDims(tf.range(offset, offset + length, 1, 'int32'), 0), [n, 1]);
    const real = tf.cast(tf.notEqual(tokens, padding), 'float32');
    return tf.cast(tf.add(tf.mul(tf.cumsum(real, 1), real), padding), 'int32');
  }

  override computeOutputShape(inputShape: Shape | Shape[]): Shape {
    const shape = firstShape(inputShape);
    if (shape.length === 2) return [...shape, this.config.width];
    return vocabularyShape(inputShape, this.config.size);
  }

  override getConfig(): tf.serialization.ConfigDict {
    return { ...super.getConfig(), ...this.config };
  }
}

tf.serialization.registerClass(Embedding);
