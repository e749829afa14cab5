/**
 * One step of AdamW in place, in two ops and without a temporary of the weights' size:
 *
 *   w ← s · w        m ← m + (1 - β₁)(g - m)        v ← v + (1 - β₂)(g² - v)        w ← w - α m / (√v + ε)
 *
 * with α and ε that already hold the corrections for the bias of m and v, and s = 1 - η λ the weight decay (arXiv 1711.05101; 1412.6980
 * section 2 for folding the corrections into α). The tensors become resource variables of TensorFlow for the duration of the step:
 * the op writes where they stand if nothing else sees the buffer, and into a copy if something does, so clones keep their values.
 */
import * as tf from '@tensorflow/tfjs-core';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { type Attr, bool, currentBackend, type Ops, shape, text, type, withOps } from './raw.ts';

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
  withOps(backend, (ops) => {
    const scalar = (value: number): Handle => ops.constant(Float32Array.of(value), []);
    const [zero, gradient] = [scalar(0), ops.run('Identity', { T }, [g])];
    inPlace(backend, ops, [w, m, v], ([weights, first, second]) => {
      if (shrink !== 1) scale(ops, weights!, w.shape, scalar(shrink));
      // Powers of β at zero: the op applies no corrections of its own.
      const rates = [zero, zero, scalar(alpha), scalar(beta1), scalar(beta2), scalar(epsilon)];
      const attrs = { T, use_locking: bool(false), use_nesterov: bool(false) };
      ops.runMany('ResourceApplyAdam', attrs, [weights!, first!, second!, ...rates, gradient], 0);
    });
  });
}

const T = type(DType.float);
const dtype: { readonly dtype: Attr } = { dtype: T };
let variables = 0;

/** Lets `update` see `tensors` as resource variables, which alone hold the buffers meanwhile; then the tensors have what it wrote, or what they had. */
function inPlace(
  backend: TensorflowBackend,
  ops: Ops,
  tensors: readonly tf.Variable[],
  update: (resources: readonly Handle[]) => void,
): void {
  for (const x of tensors) unshare(backend, ops, x);
  const entries = tensors.map(({ dataId }) => backend.tensorMap.get(dataId));
  const resources = tensors.map((x) => {
    const attrs = { container: text(''), shared_name: text(`leantune/${variables++}`), shape: shape(x.shape), ...dtype };
    const resource = ops.run('VarHandleOp', attrs, []);
    ops.runMany('AssignVariableOp', dtype, [resource, x], 0);
    return resource;
  });
  const lent = entries.map(({ id }) => id);
  for (const id of lent) backend.binding.deleteTensor(id);
  try {
    update(resources);
  } finally {
    for (const [i, entry] of entries.entries()) {
      entry.id = ops.release(ops.run('ReadVariableOp', dtype, [resources[i]!])).id;
      ops.runMany('DestroyResourceOp', { ignore_lookup_error: bool(true) }, [resources[i]!], 0);
    }
  }
}

/** Takes a variable off data that clones share with it. The buffer itself stays shared until TensorFlow writes to it. */
function unshare(backend: TensorflowBackend, ops: Ops, x: tf.Variable): void {
  if (backend.refCount(x.dataId) === 1) return;
  const alias = tf.engine().makeTensorFromTensorInfo(ops.leave(ops.run('Identity', { T }, [x]), 'float32'));
  x.assign(alias);
  alias.dispose();
}

/** Multiplies a variable by a scalar where it stands: a scatter onto all its rows. */
function scale(ops: Ops, resource: Handle, [rows = 1]: readonly number[], factor: Handle): void {
  const all = ops.constant(Int32Array.from({ length: rows }, (_, i) => i));
  ops.runMany('ResourceScatterMul', { ...dtype, Tindices: type(DType.int32) }, [resource, all, factor], 0);
}
