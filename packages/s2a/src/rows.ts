/**
 * Values that wait as rows of codes between their least and largest: softmax, norms, operands of matrix products.
 *
 *   low, step: bfloat16 per row        code = round((x − low) / step)        x̂ = low + code · step        |x̂ − x| <= step / 2
 *   kept: rows · 4 + rows · ceil(group · bits / 32) · 4 bytes
 *
 * Group quantization of ActNN and GACT (arXiv 2104.14129, 2206.11357), with a row for a group. One buffer is encoded once,
 * whatever reads it: what softmax keeps is also the operand of the product behind it.
 */
import type { Kept } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { run } from './kernels.ts';

/** A packed tensor, and how it was packed. */
export interface Rows {
  readonly codes: tf.Tensor;
  readonly bits: number;
  readonly group: number;
  readonly shape: number[];
}

/** The last axis; where that is short, 256 values in order. */
const groupOf = (shape: readonly number[]): number => ((shape.at(-1) ?? 1) >= 64 ? shape.at(-1)! : 256);

export interface Rounding {
  readonly rounding: 'nearest' | 'stochastic';
  readonly seed: number;
}

export class RowStore {
  readonly #rounding: Rounding;
  readonly #packed = new WeakMap<object, Rows & { users: number }>();
  readonly #rowsOf = new WeakMap<tf.Tensor, Rows>();
  #draws = 0;

  constructor(rounding: Rounding) {
    this.#rounding = rounding;
  }

  /** What rows `codes` holds. */
  rows(codes: tf.Tensor): Rows {
    return this.#rowsOf.get(codes)!;
  }

  /** Lets x wait. `decode` gives the codes themselves: for rules that read them. */
  pack(x: tf.Tensor, bits: number, group: number = groupOf(x.shape)): Kept {
    const rows = this.#packed.get(x.dataId) ?? this.#encode(x, bits, group);
    const handle = tf.keep(tf.clone(rows.codes)); // by which the bytes of all who wait for it are told
    rows.users++;
    return {
      bytes: rows.codes.size * 4,
      decode: () => rows.codes,
      dispose: () => {
        handle.dispose();
        if (--rows.users > 0) return;
        rows.codes.dispose();
        this.#packed.delete(x.dataId);
      },
    };
  }

  /** Lets x wait, to be read as it was. */
  hold(x: tf.Tensor, bits: number): Kept {
    const kept = this.pack(x, bits);
    return { ...kept, decode: () => this.read(kept.decode()) };
  }

  read(codes: tf.Tensor): tf.Tensor {
    const { bits, group, shape } = this.rows(codes);
    return run('DequantizeRows', { codes }, { bits, group, shape });
  }

  #encode(x: tf.Tensor, bits: number, group: number): Rows & { users: number } {
    const { rounding, seed } = this.#rounding;
    const draw = rounding === 'stochastic' ? (Math.imul(seed + ++this.#draws, 0x9e3779b1) | 1) >>> 0 : 0;
    const rows = { codes: tf.keep(run('QuantizeRows', { x }, { bits, group, seed: draw })), bits, group, shape: x.shape, users: 0 };
    this.#packed.set(x.dataId, rows);
    this.#rowsOf.set(rows.codes, rows);
    return rows;
  }
}
