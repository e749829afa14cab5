/**
 * Stands in for `dist/gradients.js` inside the bundled tfjs-core: the same six functions, over LeanTune's tape.
 *
 * tfjs-core's specs, and its optimizers, import their gradients from there; so each of them runs through our tape, and
 * `calls` proves that it did. The bundle's entry hands the tape over with `useTape`, because tfjs-core must have been
 * evaluated before the tape can be.
 */
import { ENGINE } from '@tensorflow/tfjs-core/dist/engine.js';
import { type Scalar, Tensor, Variable } from '@tensorflow/tfjs-core/dist/tensor.js';
import { convertToTensor, convertToTensorArray } from '@tensorflow/tfjs-core/dist/tensor_util_env.js';
import * as util from '@tensorflow/tfjs-core/dist/util.js';
import type { Tape, TapeCalls } from './tape-seam.ts';

let tape: Tape | undefined;

/** How often each function reached our tape. */
export const calls: TapeCalls = { grad: 0, grads: 0, valueAndGrad: 0, valueAndGrads: 0, variableGrads: 0, customGrad: 0 };

export function useTape(ours: Tape): void {
  tape = ours;
}

function ours(caller: keyof TapeCalls): Tape {
  if (!tape) throw new Error(`${caller} was called before the bundle's entry handed our tape over with useTape()`);
  calls[caller]++;
  return tape;
}

function run<O extends Tensor>(caller: keyof TapeCalls, f: () => O, xs: Tensor[], dy?: Tensor | null): { value: O; grads: Tensor[] } {
  util.assert(dy == null || dy instanceof Tensor, () => `The dy passed to ${caller} must be a tensor`);
  const { value, grads } = ours(caller).gradients(f, xs, dy ?? undefined);
  if (dy != null) util.assertShapesMatch(value.shape, dy.shape, `The shape of dy passed to ${caller} must match the shape returned by f`);
  util.assert(
    grads.every((g) => g != null),
    () => 'Cannot compute gradient of y=f(x) with respect to x: f does not lead from x to y.',
  );
  return { value: value as O, grads: grads as Tensor[] };
}

type Input = Parameters<typeof convertToTensor>[0];

export function grad(f: (x: Tensor) => Tensor): (x: Input, dy?: Input) => Tensor {
  util.assert(util.isFunction(f), () => 'The f passed in grad(f) must be a function');
  return (x, dy) => {
    const $x = convertToTensor(x, 'x', 'tf.grad', 'string_or_numeric' as 'numeric');
    const $dy = dy == null ? null : convertToTensor(dy, 'dy', 'tf.grad');
    return ENGINE.tidy(() => run('grad', () => f($x), [$x], $dy).grads[0]!);
  };
}

export function grads(f: (...args: Tensor[]) => Tensor): (args: Input[], dy?: Input) => Tensor[] {
  util.assert(util.isFunction(f), () => 'The f passed in grads(f) must be a function');
  return (args, dy) => {
    util.assert(Array.isArray(args), () => 'The args passed in grads(f)(args) must be an array of `Tensor`s or `TensorLike`s');
    const $args = convertToTensorArray(args, 'args', 'tf.grads', 'string_or_numeric' as 'numeric');
    const $dy = dy == null ? null : convertToTensor(dy, 'dy', 'tf.grads');
    return ENGINE.tidy(() => run('grads', () => f(...$args), $args, $dy).grads);
  };
}

export function valueAndGrad<I extends Tensor, O extends Tensor>(f: (x: I) => O): (x: I, dy?: O) => { value: O; grad: I } {
  util.assert(util.isFunction(f), () => 'The f passed in valueAndGrad(f) must be a function');
  return (x, dy) => {
    util.assert(x instanceof Tensor, () => 'The x passed in valueAndGrad(f)(x) must be a tensor');
    const { value, grads } = run('valueAndGrad', () => f(x), [x], dy);
    return { value, grad: grads[0] as I };
  };
}

export function valueAndGrads<O extends Tensor>(f: (...args: Tensor[]) => O): (args: Tensor[], dy?: O) => { value: O; grads: Tensor[] } {
  util.assert(util.isFunction(f), () => 'The f passed in valueAndGrads(f) must be a function');
  return (args, dy) => {
    util.assert(
      Array.isArray(args) && args.every((a) => a instanceof Tensor),
      () => 'The args passed in valueAndGrads(f)(args) must be an array of tensors',
    );
    return run('valueAndGrads', () => f(...args), args, dy);
  };
}

type VariableGrads = { value: Tensor; grads: { [name: string]: Tensor | null } };

/** As the public `valueAndGrads` of core, plus tfjs's defaults: all registered variables, and `null` for frozen ones. */
export function variableGrads(f: () => Tensor, list?: Variable[] | null): VariableGrads {
  util.assert(util.isFunction(f), () => 'The f passed in variableGrads(f) must be a function');
  util.assert(
    list == null || (Array.isArray(list) && list.every((v) => v instanceof Variable)),
    () => 'The varList passed in variableGrads(f, varList) must be an array of variables',
  );
  const all = list ?? Object.values(ENGINE.registeredVariables);
  const trainable = all.filter((v) => v.trainable);
  util.assert(
    trainable.length > 0,
    () => `variableGrads() expects at least one of the ${all.length} input variables to be trainable, but none is.`,
  );
  const result = ours('variableGrads').valueAndGrads(f as () => Scalar, trainable);
  const frozen = list ? all.filter((v) => !v.trainable).map((v) => [v.name, null]) : [];
  return { value: result.value, grads: { ...result.grads, ...Object.fromEntries(frozen) } };
}

type GradientFunction = Parameters<typeof ENGINE.customGrad>[0];

/** Not replaced: our tape records it where the engine runs it. */
export function customGrad(f: GradientFunction): (...args: Tensor[]) => Tensor {
  calls.customGrad++;
  return ENGINE.customGrad(f) as (...args: Tensor[]) => Tensor;
}
