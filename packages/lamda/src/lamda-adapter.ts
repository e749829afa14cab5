/**
 * LaMDA at one site.
 *
 *   T = A∗x  [n, r]
 *   while B trains   M = (c·S)·B        y = W∗x + T·M           dM = Tᵀ·dy        dS = c·dM·Bᵀ            dB = (c·S)ᵀ·dM, rows that train alone
 *   then             y = W∗x + (T·(c·S))·B                     dP = dy·Bᵀ        dS = c·Tᵀ·dP
 *   in either case   dx = Wᵀ∗dy + Aᵀ∗(dy·Mᵀ), with dy·Mᵀ = dP·(c·S)ᵀ
 *
 * So T waits for backward, and M [r, dOut] while B trains; never x, and nothing else that has n rows. M takes one product with n rows less
 * than T·(c·S) would as long as B needs a gradient, and one more once it needs none. Ordinary ops, which the tape differentiates.
 */
import { dropped, type Factors, type LowRankSite, narrow, ownVariable, type SiteAdapter, widen } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';
import { FreezingRows } from './freezing-rows.ts';
import type { InitialFactors } from './initial-factors.ts';

export interface LamdaScale {
  /** c = α / r. */
  readonly scale: number;
  readonly dropout: number;
}

export class LamdaAdapter implements SiteAdapter {
  readonly rank: number;
  readonly s: tf.Variable;
  readonly b: FreezingRows;
  readonly #a: tf.Variable;
  readonly #minus: tf.Variable | undefined;
  readonly #kernelShape: readonly number[];
  readonly #scale: LamdaScale;

  /** Takes the factors over. @param name of the variables, without the last part */
  constructor(site: LowRankSite, { a, s, b, minus }: InitialFactors, scale: LamdaScale, frozen: number, name: string) {
    this.rank = s.shape[0];
    this.#kernelShape = site.kernelShape;
    this.#scale = scale;
    this.#a = ownVariable(a, `${name}/A`, false);
    this.#minus = minus && ownVariable(minus, `${name}/minus`, false);
    this.s = ownVariable(s, `${name}/S`);
    this.b = new FreezingRows(b, frozen, `${name}/B`);
  }

  apply(x: tf.Tensor, y: tf.Tensor, linear: Parameters<SiteAdapter['apply']>[2]): tf.Tensor {
    const { scale, dropout } = this.#scale;
    const t = narrow(x, this.#a, linear); // [n, r]
    const s = (scale === 1 ? this.s : tf.mul(this.s, scale)) as tf.Tensor2D;
    const path = dropped(t, dropout);
    const { frozen, trained } = this.b;
    const added = trained
      ? widen(path, tf.matMul(s, frozen ? tf.concat([frozen, trained]) : trained), y)
      : widen(tf.matMul(path, s), frozen!, y);
    const sum = tf.add(y, added);
    return this.#minus ? tf.sub(sum, widen(t, this.#minus, y)) : sum;
  }

  factors(): Factors {
    return tf.tidy(() => {
      const product = tf.matMul(tf.mul(this.s, this.#scale.scale) as tf.Tensor2D, this.b.all()); // [r, dOut]
      return { down: tf.clone(tf.reshape(this.#a, [-1, this.rank])), up: this.#minus ? tf.sub(product, this.#minus) : product };
    });
  }

  delta(): tf.Tensor {
    return tf.tidy(() => {
      const { down, up } = this.factors();
      return tf.reshape(tf.matMul(down as tf.Tensor2D, up as tf.Tensor2D), [...this.#kernelShape]);
    });
  }

  /** For files: A too, as vectors of close singular values come out differently on other backends. New tensors. */
  read(): tf.NamedTensorMap {
    return { A: tf.clone(this.#a), S: tf.clone(this.s), B: this.b.all(), ...(this.#minus && { minus: tf.clone(this.#minus) }) };
  }

  /** Borrows what `read` gave. */
  write({ A, S, B, minus }: tf.NamedTensorMap, frozen: number): void {
    this.#a.assign(A!);
    this.s.assign(S!);
    this.b.set(B as tf.Tensor2D, frozen);
    this.#minus?.assign(minus!);
  }

  dispose(): void {
    tf.dispose([this.#a, this.s]);
    this.#minus?.dispose();
    this.b.dispose();
  }
}
