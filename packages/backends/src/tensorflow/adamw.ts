/**
 * One step of AdamW where weights and moments lie, as one op:
 *
 *   w ← s · w        m ← m + (1 - β₁)(g - m)        v ← v + (1 - β₂)(g² - v)        w ← w - α m / (√v + ε)
 *
 * with α and ε that already hold the corrections for the bias of m and v, and s = 1 - η λ the weight decay (arXiv 1711.05101; 1412.6980
 * section 2 for folding the corrections into α). The tensors are resource variables for the duration of the step (`in-place.ts`).
 * Nothing of the weights' size is temporary without decay; with it, one buffer of the variable that is being moved.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { KernelMap } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { inPlace, unshare } from './in-place.ts';
import { bool, currentBackend, type, withOps } from './raw.ts';

const T = type(DType.float);

/** The numbers of a step, the same for all variables. */
export interface AdamWStep {
  /** α: the learning rate times √(1 - β₂ᵗ) / (1 - β₁ᵗ). */
  readonly alpha: number;
  /** ε, times √(1 - β₂ᵗ) where it is to stand outside the corrected root, as in torch. */
  readonly epsilon: number;
  readonly beta1: number;
  readonly beta2: number;
  /** s: what the weights are multiplied with first. @default 1 */
  readonly shrink?: number;
}

/** Moves `w` along gradient `g`, and the moments `m` and `v` with it; all float32 of one shape. A step that fails changes none of them. */
export function adamWStep(w: tf.Variable, m: tf.Variable, v: tf.Variable, g: tf.Tensor, step: AdamWStep): void {
  const backend = currentBackend('adamWStep');
  const { alpha, epsilon, beta1, beta2, shrink = 1 } = step;
  for (const [what, x] of Object.entries({ 'first moment': m, 'second moment': v, gradient: g }))
    if (x.dtype !== 'float32' || String(x.shape) !== String(w.shape))
      throw new TypeError(
        `[adamWStep] got a ${what} of shape [${x.shape}] and type ${x.dtype}; expected [${w.shape}] and float32, as the weight has.`,
      );
  for (const x of [w, m, v]) unshare(backend, x);
  withOps(backend, (ops) => {
    const scalar = (value: number): Handle => ops.constant(Float32Array.of(value), []);
    const decayed = shrink === 1 ? undefined : ops.run('Mul', { T }, [w, scalar(shrink)]);
    inPlace(backend, ops, [[w, decayed], [m], [v]], ([weights, first, second]) => {
      // Powers of β at zero: the op applies no corrections of its own.
      const rates = [0, 0, alpha, beta1, beta2, epsilon].map(scalar);
      const attrs = { T, use_locking: bool(false), use_nesterov: bool(false) };
      ops.runMany('ResourceApplyAdam', attrs, [weights!, first!, second!, ...rates, g], 0);
    });
  });
}

/** What `adamW` of `@leantune/core` looks for: moves weights and moments where they lie. Its root is corrected, and ε stands outside. */
export const optimizers: KernelMap<TensorflowBackend, tf.TensorInfo> = {
  AdamWUpdate({ variable, m, v, gradient }, { rate, correction, epsilon, ...rest }) {
    const step = { ...rest, alpha: rate * correction, epsilon: epsilon * correction } as AdamWStep;
    adamWStep(variable as tf.Variable, m as tf.Variable, v as tf.Variable, gradient as tf.Tensor, step);
    return variable!;
  },
};
