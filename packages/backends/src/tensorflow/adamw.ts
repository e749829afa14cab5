/**
 * One step of AdamW where weights and moments lie, as one op:
 *
 *   w ← s · w        m ← m + (1 - β₁)(g - m)        v ← v + (1 - β₂)(g² - v)        w ← w - α m / (√v + ε)
 *
 * with α and ε that already hold the corrections for the bias of m and v, and s = 1 - η λ the weight decay (arXiv 1711.05101; 1412.6980
 * section 2 for folding the corrections into α). The tensors become resource variables of TensorFlow for the duration of the step:
 * the op writes where they stand if nothing else sees the buffer, and into a copy if something does, so clones keep their values.
 * Nothing of the weights' size is temporary without decay; with it, one buffer of the variable that is being moved.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { KernelMap } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { type Attr, bool, currentBackend, type Operand, type Ops, shape, text, type, withOps } from './raw.ts';

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

const T = type(DType.float);
const dtype: { readonly dtype: Attr } = { dtype: T };

/** A variable and, where that is another, the value it is to start from. */
type Start = readonly [variable: tf.Variable, start?: Handle | undefined];

/**
 * Lets `update` write to resource variables that start as `starts` say and alone hold their buffers meanwhile. Then the variables have
 * what it wrote; if it fails, what they had.
 */
function inPlace(backend: TensorflowBackend, ops: Ops, starts: readonly Start[], update: (resources: readonly Handle[]) => void): void {
  const { binding, tensorMap } = backend;
  const resources = starts.map(([x, start], i) => assign(ops, `leantune/${i}`, start ?? x, x.shape));
  const read = (i: number): number => ops.release(ops.run('ReadVariableOp', dtype, [resources[i]!])).id;
  const entries = starts.map(([{ dataId }]) => tensorMap.get(dataId));
  for (const [i, [, start]] of starts.entries()) {
    if (start) ops.free(start);
    else binding.deleteTensor(entries[i]!.id);
  }
  let done = false;
  try {
    update(resources);
    done = true;
  } finally {
    for (const [i, [, start]] of starts.entries()) {
      if (start && done) binding.deleteTensor(entries[i]!.id);
      if (!start || done) Object.assign(entries[i]!, { id: read(i), shape: starts[i]![0].shape });
      ops.runMany('DestroyResourceOp', { ignore_lookup_error: bool(true) }, [resources[i]!], 0);
    }
  }
}

/**
 * A resource variable that shares the buffer of `value`. The name is free again once the resource is destroyed: TensorFlow keeps a kernel
 * for good for each combination of attributes, so names that are always new would take memory with every step.
 */
function assign(ops: Ops, name: string, value: Operand, dimensions: readonly number[]): Handle {
  const attrs = { container: text(''), shared_name: text(name), shape: shape(dimensions), ...dtype };
  const resource = ops.run('VarHandleOp', attrs, []);
  ops.runMany('AssignVariableOp', dtype, [resource, value], 0);
  return resource;
}

/** Takes a variable off data that clones share with it. The buffer itself stays shared until TensorFlow writes to it. */
function unshare(backend: TensorflowBackend, x: tf.Variable): void {
  if (backend.refCount(x.dataId) === 1) return;
  const alias = withOps(backend, (ops) => ops.leave(ops.run('Identity', { T }, [x]), 'float32'));
  const own = tf.engine().makeTensorFromTensorInfo(alias);
  x.assign(own);
  own.dispose();
}
