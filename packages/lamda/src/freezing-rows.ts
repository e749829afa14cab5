/**
 * B in two parts: the rows that are frozen, a plain value, and those that train, a variable that gets shorter.
 *
 * Gradient, moments and weight decay see the variable alone, so nothing can move a frozen row.
 */
import { ownVariable, rebind } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';

export class FreezingRows {
  readonly #name: string;
  /** The first rows. A variable that does not train, as those cost nothing to keep. */
  #frozen: tf.Variable | undefined;
  #trained: tf.Variable | undefined;

  /** Takes `rows` [r, d] over, of which `frozen` are frozen. */
  constructor(rows: tf.Tensor2D, frozen: number, name: string) {
    this.#name = name;
    this.set(rows, frozen);
    rows.dispose();
  }

  get frozen(): tf.Variable | undefined {
    return this.#frozen;
  }

  get trained(): tf.Variable | undefined {
    return this.#trained;
  }

  /** Copies `count` more rows to the frozen ones. Core takes them out of `trained` then. */
  freeze(count: number): { readonly variable: tf.Variable; readonly rows: number } {
    const variable = this.#trained!;
    const more = tf.tidy(() => {
      const rows = tf.slice(variable, 0, count);
      return this.#frozen ? tf.concat([this.#frozen, rows]) : rows;
    });
    this.#setFrozen(more);
    if (count === variable.shape[0]) this.#trained = undefined;
    return { variable, rows: count };
  }

  /** All rows, a new tensor [r, d]. */
  all(): tf.Tensor2D {
    const parts = [this.#frozen, this.#trained].filter((part) => part !== undefined);
    return parts.length === 1 ? tf.clone(parts[0] as tf.Tensor2D) : (tf.concat(parts) as tf.Tensor2D);
  }

  /** Borrows `rows`. The variable that trains stays the same one, so that optimizers know it. */
  set(rows: tf.Tensor2D, frozen: number): void {
    const r = rows.shape[0];
    this.#setFrozen(frozen > 0 ? tf.slice(rows, 0, frozen) : undefined);
    if (frozen < r) {
      const rest = tf.slice(rows, frozen);
      if (this.#trained) rebind(this.#trained, rest);
      else this.#trained = ownVariable(tf.clone(rest), this.#name);
      rest.dispose();
    } else {
      this.#trained?.dispose();
      this.#trained = undefined;
    }
  }

  #setFrozen(value: tf.Tensor | undefined): void {
    const before = this.#frozen;
    this.#frozen = value && ownVariable(value, `${this.#name}/frozen`, false);
    before?.dispose();
  }

  dispose(): void {
    tf.dispose([this.#frozen, this.#trained].filter((part) => part !== undefined));
  }
}
