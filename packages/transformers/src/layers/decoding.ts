/** What attention remembers while a model generates: the keys and values of the tokens so far. */
import * as tf from '@tensorflow/tfjs-core';

export class Decoding {
  /** Tokens that went before those in flight. */
  length = 0;
  readonly #memory = new Map<object, readonly [keys: tf.Tensor, values: tf.Tensor]>();

  /** Adds keys and values [n, T, width] of the tokens in flight to what `layer` remembers; returns all. Owns what it returns. */
  append(layer: object, keys: tf.Tensor, values: tf.Tensor): readonly [keys: tf.Tensor, values: tf.Tensor] {
    const before = this.#memory.get(layer);
    const join = (old: tf.Tensor | undefined, added: tf.Tensor) => tf.keep(old ? tf.concat([old, added], 1) : tf.clone(added));
    const now = [join(before?.[0], keys), join(before?.[1], values)] as const;
    tf.dispose(before as tf.Tensor[] | undefined);
    this.#memory.set(layer, now);
    return now;
  }

  dispose(): void {
    for (const tensors of this.#memory.values()) tf.dispose(tensors as unknown as tf.Tensor[]);
    this.#memory.clear();
  }
}
