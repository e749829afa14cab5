/**
 * What the tape tells whoever watches memory. The engine shows which buffers live; only the tape knows what they live for.
 * With no probe in the set, telling costs one empty loop.
 */
import type * as tf from '@tensorflow/tfjs-core';

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
  label(tensors: Iterable<tf.Tensor>, as: 'weights' | 'optimizer'): void;
}

/** Who is watching now. */
export const probes: Set<Probe> = new Set();
