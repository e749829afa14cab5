/** What the sites of all kinds of model share: a stack of forwards that replace their own, and a kernel to add to. */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import type { Forward, Site, SiteKind, SiteWeight, Undo } from '../technique.ts';

/** Turns the replacements of all sites of a model off while `disabled` runs. */
export interface Switch {
  off: boolean;
}

export type Replacement = (x: tf.Tensor, next: Forward) => tf.Tensor;

export abstract class ReplaceableSite implements Site {
  readonly name: string;
  readonly kind: SiteKind;
  readonly type: string;
  abstract readonly kernel: tf.Tensor | undefined;
  abstract readonly weights: readonly SiteWeight[];
  /** False where no single tensor flows through the site. */
  protected abstract readonly replaceable: boolean;
  readonly #replacements: Replacement[] = [];
  readonly #power: Switch;

  constructor(name: string, kind: SiteKind, type: string, power: Switch) {
    this.name = name;
    this.kind = kind;
    this.type = type;
    this.#power = power;
  }

  replace(forward: Replacement): Undo {
    if (!this.replaceable) this.#refuse('replace', 'a layer or node with a kernel, or with one input and one output');
    const own: Replacement = (x, next) => forward(x, next); // the same function may be added twice
    this.#replacements.push(own);
    return () => {
      const at = this.#replacements.indexOf(own);
      if (at >= 0) this.#replacements.splice(at, 1);
    };
  }

  addToKernel(delta: tf.Tensor): void {
    const kernel = this.kernel ?? this.#refuse('addToKernel', 'a dense, conv or embedding one that holds its kernel as it is used');
    tf.tidy(() => this.assign(kernel, tf.add(kernel, delta)));
  }

  /** True if something else runs in place of the site. */
  get replaced(): boolean {
    return this.#replacements.length > 0 && !this.#power.off;
  }

  /** What runs in place of `base`, the last replacement outermost. */
  run(x: tf.Tensor, base: Forward): tf.Tensor {
    return this.#replacements.reduce<Forward>((next, forward) => (value) => forward(value, next), base)(x);
  }

  protected assign(kernel: tf.Tensor, value: tf.Tensor): void {
    (kernel as tf.Variable).assign(value);
  }

  #refuse(who: string, expected: string): never {
    throw new FinetuneError('bad-option', who, `got "${this.name}" (${this.type}); expected ${expected}. Leave it out of the targets.`);
  }
}
