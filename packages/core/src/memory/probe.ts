/**
 * What the tape tells whoever watches memory. The engine shows which buffers live; only the tape knows what they live for.
 * With no probe in the set, telling costs one empty loop.
 */
import type * as tf from '@tensorflow/tfjs-core';

export type Role = 'weights' | 'optimizer';

export interface Probe {
  /**
   * A value starts to wait for backward. `token` is its buffer (a `dataId`) or the `Kept` that stands for it; `bytes` is what the
   * token says of itself, used only where no buffer can be measured (a `Kept` of plain arrays). May repeat: each call needs its drop.
   */
  hold(token: object, bytes: number, kernel: string, layer: string): void;
  /** It stops waiting. Unknown tokens are ignored. */
  drop(token: object): void;
  /** This buffer is the gradient of a weight, finished or still accumulating. */
  gradient(dataId: object): void;
  /** Runs an encoder. The buffers of the tensors it leaves alive belong to the `Kept` it returns, once that is held. */
  encoding<T>(encode: () => T): T;
  /** These tensors are weights, or the state of an optimizer, from now on. */
  label(tensors: Iterable<tf.Tensor>, as: Role): void;
}

/** Who is watching now. */
export const probes: Set<Probe> = new Set();

/** What tensors were said to be, for probes still to come. Variables of which nothing was said are weights. */
export const roles: WeakMap<tf.Tensor, Role> = new WeakMap();

/** State, not weights: what optimizers of our own make, and what `tuned.optimizer` finds in the one that it wraps. Those of a loop of tfjs are found by the tracker. */
export function markState(variables: readonly tf.Variable[]): void {
  for (const variable of variables) roles.set(variable, 'optimizer');
  for (const probe of probes) probe.label(variables, 'optimizer');
}
