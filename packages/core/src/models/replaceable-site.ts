/** What the sites of all kinds of model share: a stack of forwards that replace their own, and a kernel to add to. */
import * as tf from '@tensorflow/tfjs-core';
import { view } from '../autograd/held.ts';
import { FinetuneError } from '../errors.ts';
import type { Forward, Linear, Replacement, Site } from '../technique.ts';

/** Turns the replacements of all sites of a model off while `disabled` runs. */
export interface Switch {
  off: boolean;
}

export interface ReplaceableSite extends Site {
  /** Runs what replaces `base`, the last replacement outermost. */
  run(x: tf.Tensor, base: Forward, linear: Linear): tf.Tensor;
}

interface Parts extends Pick<Site, 'name' | 'kind' | 'type' | 'weights'> {
  readonly power: Switch;
  /** False where no single tensor flows through the site. */
  replaceable(): boolean;
  kernel(): tf.Tensor | undefined;
  /** A kernel that is held in another form. */
  packed?: { readonly shape: readonly number[]; read(): tf.Tensor } | undefined;
  bias?(): tf.Tensor | undefined;
  /** A new value for the kernel. Borrows it. */
  assign(value: tf.Tensor): void;
}

export function makeSite({ power, replaceable, kernel, packed, bias, assign, ...named }: Parts): ReplaceableSite {
  const replacements = new Set<Replacement>();
  const refuse = (who: string, expected: string): never => {
    throw new FinetuneError('bad-option', who, `got "${named.name}" (${named.type}); expected ${expected}. Leave it out of the targets.`);
  };
  return {
    ...named,
    get kernel() {
      return kernel();
    },
    get kernelShape() {
      return packed?.shape ?? kernel()?.shape;
    },
    get bias() {
      return bias?.();
    },
    get replaced() {
      return replacements.size > 0 && !power.off;
    },
    run: (x, base, linear) => [...replacements].reduce<Forward>((next, forward) => (value) => forward(value, next, linear), base)(x),
    replace(forward) {
      if (!replaceable()) refuse('replace', 'a layer or node with a kernel, or with one input and one output');
      const own: Replacement = (...args) => forward(...args); // the same function may be added twice
      replacements.add(own);
      return () => void replacements.delete(own);
    },
    readKernel: () => packed?.read() ?? view(kernel() ?? refuse('readKernel', 'a dense, conv or embedding one')),
    addToKernel(delta) {
      if (packed) refuse('addToKernel', 'a kernel that is not packed: a sum would be rounded again');
      const before = kernel() ?? refuse('addToKernel', 'a dense, conv or embedding one that holds its kernel as it is used');
      tf.tidy(() => assign(tf.add(before, delta)));
    },
  };
}
