/** A frozen adapter that is a product of two factors, however they came about. */
import * as tf from '@tensorflow/tfjs-core';
import type { Linear } from '../technique.ts';
import type { SiteAdapter } from './adapters.ts';
import { narrow, ownVariable, widen } from './low-rank-path.ts';
import { type LowRankSite, likeKernel } from './low-rank-sites.ts';

/** ΔW = down·up, down [dIn, r], up [r, dOut]. */
export interface Factors {
  readonly down: tf.Tensor;
  readonly up: tf.Tensor;
}

export class FactorAdapter implements SiteAdapter {
  readonly #kernelShape: readonly number[];
  readonly #down: tf.Variable;
  readonly #up: tf.Variable;

  /** Takes the factors over. */
  constructor({ down, up }: Factors, site: Pick<LowRankSite, 'kernelShape'>) {
    this.#kernelShape = site.kernelShape;
    // As variables, which cost nothing to keep for backward.
    this.#down = ownVariable(
      tf.tidy(() => tf.clone(likeKernel(down, site))),
      'factor/down',
      false,
    );
    this.#up = ownVariable(
      tf.tidy(() => tf.clone(up)),
      'factor/up',
      false,
    );
    tf.dispose([down, up]);
  }

  apply(x: tf.Tensor, y: tf.Tensor, linear: Linear): tf.Tensor {
    return tf.add(y, widen(narrow(x, this.#down, linear), this.#up, y));
  }

  delta(): tf.Tensor {
    return tf.tidy(() => {
      const { down, up } = this.factors();
      return tf.reshape(tf.matMul(down as tf.Tensor2D, up as tf.Tensor2D), [...this.#kernelShape]);
    });
  }

  factors(): Factors {
    return { down: tf.tidy(() => tf.clone(tf.reshape(this.#down, [-1, this.#down.shape.at(-1)!]))), up: tf.clone(this.#up) };
  }

  dispose(): void {
    tf.dispose([this.#down, this.#up]);
  }
}
