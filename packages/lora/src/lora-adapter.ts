/**
 * LoRA at one site.
 *
 *   y = W∗x + c·(A∗x)·B         dA = c·xᵀ∗(dy·Bᵀ)      dB = c·(A∗x)ᵀ·dy
 *
 * A trains, so x waits for backward, unless it does anyway; and c·A∗x. With a magnitude m the columns of the sum get a length of their own:
 *
 *   DoRA   y = m/‖W + c·A·B‖ ⊙ (W∗x + c·(A∗x)·B) + bias        the norm is that of columns, and counts as a constant
 */
import {
  dropped,
  type Factors,
  kernelMatrix,
  type LowRankSite,
  narrow,
  offRecord,
  ownVariable,
  type SiteAdapter,
  widen,
} from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';
import { columnNorms } from './column-norms.ts';
import type { InitialFactors } from './initial-factors.ts';

export interface LoraPath {
  readonly rank: number;
  /** c */
  readonly scale: number;
  readonly dropout: number;
  readonly dora: boolean;
  /** Whether the product of the first factors is taken away. */
  readonly principal: boolean;
}

export class LoraAdapter implements SiteAdapter {
  readonly a: tf.Variable;
  readonly b: tf.Variable;
  /** m [dOut], of DoRA. */
  readonly magnitude: tf.Variable | undefined;
  readonly path: LoraPath;
  readonly #site: LowRankSite;
  readonly #minus: InitialFactors | undefined;

  /** Takes the factors over. @param name of the variables, without the last part */
  constructor(site: LowRankSite, { a, b }: InitialFactors, path: LoraPath, name: string) {
    this.#site = site;
    this.path = path;
    const copy = (t: tf.Tensor, part: string) => ownVariable(tf.clone(t), `${name}/${part}`, false);
    this.#minus = path.principal ? { a: copy(a, 'minus_A'), b: copy(b, 'minus_B') } : undefined;
    this.a = ownVariable(a, `${name}/lora_A`);
    this.b = ownVariable(b, `${name}/lora_B`);
    this.magnitude = path.dora
      ? ownVariable(
          tf.tidy(() => this.#norms()),
          `${name}/lora_magnitude_vector`,
        )
      : undefined;
  }

  get variables(): readonly tf.Variable[] {
    return this.magnitude ? [this.a, this.b, this.magnitude] : [this.a, this.b];
  }

  apply(x: tf.Tensor, y: tf.Tensor, linear: Parameters<SiteAdapter['apply']>[2]): tf.Tensor {
    const { scale, dropout } = this.path;
    const rows = narrow(dropped(x, dropout), this.a, linear); // [n, r]
    const added = widen(scale === 1 ? rows : tf.mul(rows, scale), this.b, y);
    if (this.magnitude) return this.#stretched(y, added);
    if (!this.#minus) return tf.add(y, added);
    const less = widen(tf.mul(narrow(x, this.#minus.a, linear), scale), this.#minus.b, y);
    return tf.sub(tf.add(y, added), less);
  }

  #stretched(y: tf.Tensor, added: tf.Tensor): tf.Tensor {
    const { bias } = this.#site;
    const own = bias ? tf.sub(y, bias) : y;
    const result = tf.mul(
      tf.add(own, added),
      tf.div(
        this.magnitude!,
        offRecord(() => this.#norms()),
      ),
    );
    return bias ? tf.add(result, bias) : result;
  }

  #norms(): tf.Tensor1D {
    return columnNorms(kernelMatrix(this.#site), tf.reshape(this.a, [-1, this.path.rank]), tf.mul(this.b, this.path.scale) as tf.Tensor2D);
  }

  delta(): tf.Tensor {
    return tf.tidy(() => {
      const { down, up } = this.#product();
      const added = tf.matMul(down as tf.Tensor2D, up as tf.Tensor2D);
      const change = this.magnitude ? this.#stretch(added, this.magnitude) : added;
      return tf.reshape(change, [...this.#site.kernelShape]);
    });
  }

  #stretch(added: tf.Tensor, magnitude: tf.Variable): tf.Tensor {
    const kernel = kernelMatrix(this.#site);
    return tf.sub(tf.mul(tf.add(kernel, added), tf.div(magnitude, this.#norms())), kernel);
  }

  /** Of DoRA there are none: it changes all of W. */
  get factors(): (() => Factors) | undefined {
    return this.magnitude ? undefined : () => this.#product();
  }

  #product(): Factors {
    return tf.tidy(() => {
      const { scale, rank } = this.path;
      const flat = (a: tf.Tensor) => tf.reshape(a, [-1, rank]);
      const up = tf.mul(this.b, scale);
      if (!this.#minus) return { down: tf.clone(flat(this.a)), up };
      return { down: tf.concat([flat(this.a), flat(this.#minus.a)], 1), up: tf.concat([up, tf.mul(this.#minus.b, -scale)], 0) };
    });
  }

  /** For files. New tensors. */
  read(): tf.NamedTensorMap {
    const copies = {
      lora_A: tf.clone(this.a),
      lora_B: tf.clone(this.b),
      ...(this.magnitude && { lora_magnitude_vector: tf.clone(this.magnitude) }),
    };
    return { ...copies, ...(this.#minus && { minus_A: tf.clone(this.#minus.a), minus_B: tf.clone(this.#minus.b) }) };
  }

  /** Borrows what `read` gave. */
  write(tensors: tf.NamedTensorMap): void {
    this.a.assign(tensors['lora_A']!);
    this.b.assign(tensors['lora_B']!);
    this.magnitude?.assign(tensors['lora_magnitude_vector']!);
    (this.#minus?.a as tf.Variable | undefined)?.assign(tensors['minus_A']!);
    (this.#minus?.b as tf.Variable | undefined)?.assign(tensors['minus_B']!);
  }

  dispose(): void {
    tf.dispose([...this.variables]);
    if (this.#minus) tf.dispose([this.#minus.a, this.#minus.b]);
  }
}
