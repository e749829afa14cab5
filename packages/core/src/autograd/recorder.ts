/** What sees the ops that run while a function is recorded, and what techniques and models add to that. */
import type * as tf from '@tensorflow/tfjs-core';
import type { ComputeRule, Fusion, GradientRules, KeepRule, Kept } from '../technique.ts';
import type { Held } from './held.ts';
import type { Attrs } from './rules.ts';

/** What techniques and models add to a recording. */
export interface Recording {
  readonly gradients?: readonly GradientRules[];
  readonly keep?: readonly KeepRule[];
  readonly fusions?: readonly Fusion[];
  readonly compute?: readonly ComputeRule[];
  /** True if every technique that asks to see kernels has a rule for this one, which stands for several. @default none asks */
  readonly fuses?: (kernel: string) => boolean;
  /** True for frozen weights that are not variables: waiting costs nothing, and no codec touches them. */
  readonly isWeight?: (t: tf.Tensor) => boolean;
}

export type Tensors = { readonly [name: string]: tf.Tensor };
/** As tfjs's engine calls it: gradients by input, each computed by a function. */
export type CustomGradient = (dy: tf.Tensor, saved: tf.Tensor[]) => { readonly [input: string]: () => tf.Tensor };

/** What a tape asks and tells of all that are open. */
export interface Around {
  /** True if a gradient with respect to `t` is wanted on any. */
  wants(t: tf.Tensor): boolean;
  /** `copy` is another handle on the value of `t`. */
  alias(copy: tf.Tensor, t: tf.Tensor): void;
  /** Whether none is open inside of the one that asks: one may hold what that has no use for, and read it. */
  innermost(): boolean;
}

export interface Recorder {
  readonly extra: Recording;
  /** True if a gradient with respect to any of `inputs` is wanted. */
  wants(inputs: readonly (tf.Tensor | null | undefined)[]): boolean;
  /** Records one run of a kernel, if any of its inputs is differentiable. */
  record(kernel: string, inputs: Tensors, outputs: readonly tf.Tensor[], attrs: Attrs): void;
  /** Records an op with a gradient of its own (tf.customGrad): all it saved waits, all its gradients are computed. */
  recordCustom(inputs: Tensors, output: tf.Tensor, held: readonly Held[], gradient: CustomGradient): void;
  /** Lets a value wait for backward. */
  hold(kernel: string, role: string, value: tf.Tensor | Kept | (() => Kept), parametric?: boolean): Held;
  /** Makes `copy` the same value as `t`. */
  link(copy: tf.Tensor, t: tf.Tensor): void;
}
