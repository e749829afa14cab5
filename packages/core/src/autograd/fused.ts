/**
 * Kernels that a backend may add to do in one pass what a gradient does in several ops. Core names the kernel, never the backend; where the
 * current backend has none of that name, or a second derivative is being recorded, the ops run. Both agree up to rounding; of those for
 * gradients cpu has none, and wasm `AddTo` alone, which rounds as Add does, so that there gradients are tfjs's bit for bit, on wasm but for
 * batch norms that train (`models/batch-norm.ts`).
 *
 * | kernel | inputs | attributes | result |
 * | --- | --- | --- | --- |
 * | `ReluGrad`, `TanhGrad`, `SigmoidGrad` | dy, of y's shape or broadcast to it, y | | dx |
 * | `ErfGrad` | dy, x | | dx |
 * | `InRange` | x | clipValueMin, clipValueMax | bool: whether x is between them |
 * | `Relu6Mask` | x | | bool: whether 0 < x <= 6 |
 * | `ClipByValueGrad` | dy, mask (bool) | | dy where mask, else 0 |
 * | `SoftmaxGrad` | dy, y | | dx over the last axis |
 * | `FusedGeluGrad` | x, dy | approximate: by tanh | dx |
 * | `FusedLayerNormGrad`, `FusedRmsNormGrad` | x, weight, dy | epsilon, wanted (names of inputs, or bias) | a list of gradients |
 * | `FusedBatchNormGrad` | dy, and what the gradient reads of x, mean, variance, scale, offset | of (an input's name), shape (its), varianceEpsilon | the gradient of that input; all but x have one value a channel |
 * | `SumOfProducts` | a, b, of one shape | shape | Σ a b over all axes but the last, in that shape |
 * | `AddTo` | sum, x, of one shape | | none: x is added to sum in place |
 * | `SgdUpdate` | variable, gradient | rate | none: the variable changes in place |
 * | `AdamWUpdate` | variable, m, v, gradient, and finite where there is one | beta1, beta2, correction, epsilon, shrink, rate | none: the first three change in place, where finite holds (a bool of one element, see optimizers/move-if.ts) |
 * | `SgdUpdateAll`, `AdamWUpdateAll` | of several variables: variable0, gradient0, variable1, …; and finite | the same; count; shrink a list | none: the same |
 */
import * as tf from '@tensorflow/tfjs-core';
import { condition } from '../optimizers/move-if.ts';

type Inputs = { readonly [name: string]: tf.Tensor | undefined };

/** `kernel` where the current backend has it, else `ops`. The caller owns the result. */
export function fused<T = tf.Tensor>(kernel: string, inputs: Inputs, attrs: tf.NamedAttrMap, ops: () => T): T {
  const floats = Object.entries(inputs).every(([name, x]) => x === undefined || x.dtype === (name === 'mask' ? 'bool' : 'float32'));
  if (!floats || recordedNow() || !tf.getKernel(kernel, tf.getBackend())) return ops();
  return tf.engine().runKernel(kernel, inputs as tf.NamedTensorMap, attrs) as unknown as T;
}

/** Whether what runs now may be differentiated. A value made inside a kernel's run is on no tape. */
export function recordedNow(): boolean {
  const { gradientDepth, kernelDepth } = tf.engine().state;
  return gradientDepth > 0 && kernelDepth === 0;
}

/** Tensors that a kernel changes in place, and those that it reads for it. */
export interface Update {
  readonly changed: tf.NamedTensorMap;
  readonly read: tf.NamedTensorMap;
}

/** Whether every tensor of `changed` is the only one on its data, and all are of one shape and where kernels find them. */
function isAlone({ changed, read }: Update): boolean {
  const backend = tf.backend();
  const { tensorInfo } = tf.engine().state;
  const here = (x: tf.Tensor): boolean => x.dtype === 'float32' && tensorInfo.get(x.dataId)?.backend === backend;
  const all = Object.values({ ...changed, ...read });
  return (
    all.every((x) => here(x) && tf.util.arraysEqual(x.shape, all[0]!.shape)) &&
    Object.values(changed).every((x) => backend.refCount(x.dataId) === 1)
  );
}

function run(config: tf.KernelConfig, inputs: tf.NamedTensorMap, attrs: tf.NamedAttrMap): void {
  const finite = condition();
  config.kernelFunc({ inputs: { ...inputs, ...(finite && { finite }) }, attrs, backend: tf.backend() });
}

/** Lets `kernel` change tensors in place, where the current backend has it and they are there alone. @returns whether it did */
export function updatedInPlace(kernel: string, update: Update, attrs: tf.NamedAttrMap): boolean {
  const config = tf.getKernel(kernel, tf.getBackend());
  if (!config || !isAlone(update)) return false;
  run(config, { ...update.changed, ...update.read }, attrs);
  return true;
}

/**
 * The same for several at once, whose tensors `kernel` finds under their names and a number.
 *
 * @param attrs of the updates that it makes, in that order
 * @returns the updates that are left
 */
export function updateAllInPlace<U extends Update>(
  kernel: string,
  updates: readonly U[],
  attrs: (made: readonly U[]) => tf.NamedAttrMap,
): readonly U[] {
  const config = tf.getKernel(kernel, tf.getBackend());
  if (!config) return updates;
  const [made, left]: [U[], U[]] = [[], []];
  for (const update of updates) (isAlone(update) ? made : left).push(update);
  const numbered = made.flatMap(({ changed, read }, i) => Object.entries({ ...changed, ...read }).map(([name, x]) => [`${name}${i}`, x]));
  if (made.length > 0) run(config, Object.fromEntries(numbered), attrs(made));
  return left;
}
