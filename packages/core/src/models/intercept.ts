/**
 * Runs something else in place of a kernel: how sites of GraphModels and of plain functions are replaced, and labeled.
 *
 * While anyone intercepts, `runKernel` and `customGrad` are replaced on the engine instance. The tape records one level below
 * (`runKernelFunc`), so what runs instead is recorded like any other op. tfjs's fused ops are customGrads around one kernel: that
 * kernel is intercepted, its activation is taken off, and put back afterwards. Backward passes are left alone.
 */
import * as tf from '@tensorflow/tfjs-core';
import { inLayer } from '../autograd/tape.ts';
import { override } from '../override.ts';
import type { Forward, Linear, Replacement, Undo } from '../technique.ts';
import { denseEinsum } from './dense-einsum.ts';

type Tensors = { readonly [name: string]: tf.Tensor };
type Attrs = { readonly [name: string]: unknown };

export interface Interceptor {
  /** The name under which kernels run now, if this model runs. */
  label?(): string | undefined;
  /** What runs in place of a kernel, if anything; asked without a kernel for a customGrad, with its arguments. */
  find(kernel: string | undefined, inputs: Tensors): Replacement | undefined;
}

const dense = ['a', 'b'] as const;
const conv = ['x', 'filter'] as const;
/** The kernels with a weight: the names of the input that flows and of the weight. */
export const operands: { readonly [kernel: string]: readonly [data: string, weight: string] } = {
  BatchMatMul: dense,
  _FusedMatMul: dense,
  Conv2D: conv,
  FusedConv2D: conv,
  DepthwiseConv2dNative: conv,
  FusedDepthwiseConv2D: conv,
  Conv3D: conv,
  Conv2DBackpropInput: ['dy', 'filter'],
  GatherV2: ['indices', 'x'],
  FusedBatchNorm: ['x', 'scale'],
};

const interceptors = new Set<Interceptor>();
let restore = () => {};

export function intercept(interceptor: Interceptor): Undo {
  if (interceptors.size === 0) restore = patch();
  interceptors.add(interceptor);
  return () => {
    if (interceptors.delete(interceptor) && interceptors.size === 0) restore();
  };
}

function patch(): Undo {
  const engine = tf.engine() as any;
  const { runKernel, customGrad, state } = engine;
  let inside = false;
  const find = (kernel: string | undefined, inputs: Tensors) => {
    if (inside || state.kernelDepth > 0) return undefined;
    for (const interceptor of interceptors) {
      const forward = interceptor.find(kernel, inputs);
      if (forward) return inBackward(state) ? undefined : forward;
    }
    return undefined;
  };
  const intercepted = (kernel: string, inputs: Tensors, attrs: Attrs = {}) =>
    labeled(() => {
      const plain = (given: Tensors, linear = attrs) => runKernel.call(engine, kernel, given, linear);
      const forward = find(kernel, inputs);
      if (!forward) return plain(inputs);
      inside = true;
      try {
        return tf.tidy(() => replaced(kernel, inputs, attrs, forward, plain));
      } finally {
        inside = false;
      }
    });
  const unfused =
    (f: (...args: unknown[]) => { value: tf.Tensor }) =>
    (...xs: tf.Tensor[]) => {
      const fused = find(undefined, Object.fromEntries(xs.entries())) && (firstKernel(engine, f, xs) ?? '').includes('Fused');
      return fused ? f(...xs, () => {}).value : labeled(() => customGrad.call(engine, f)(...xs));
    };
  return override(engine, { runKernel: intercepted, customGrad: unfused });
}

function labeled<T>(run: () => T): T {
  for (const interceptor of interceptors) {
    const label = interceptor.label?.();
    if (label !== undefined) return inLayer(label, run);
  }
  return run();
}

function replaced(
  kernel: string,
  inputs: Tensors,
  attrs: Attrs,
  forward: Replacement,
  plain: (inputs: Tensors, attrs: Attrs) => tf.Tensor,
): tf.Tensor {
  const { activation, ...rest } = attrs;
  const { preluActivationWeights: slope, ...own } = inputs;
  const [data, weight] = operands[kernel] ?? [Object.keys(inputs)[0]!, ''];
  const x = inputs[data]!;
  const linearly = activation ? { ...rest, activation: 'linear' } : attrs;
  const einsum = kernel === tf.Einsum ? denseEinsum(attrs['equation'] as string) : undefined;
  const run = (given: tf.Tensor) =>
    einsum ? tf.einsum(attrs['equation'] as string, given, inputs['1']!) : plain({ ...own, [data]: given }, linearly);
  const other: Linear = (given, value) =>
    einsum ? tf.einsum(einsum.narrow, given, value) : plain({ [data]: given, [weight]: value }, linearly);
  // The fused matmul runs in 3-D, and gives its result its own shape later.
  const flat = kernel === '_FusedMatMul' && x.shape[0] === 1 && inputs['b']!.shape[0] === 1;
  const first = (t: tf.Tensor) => tf.squeeze(t, [0]);
  const batch = (t: tf.Tensor) => tf.expandDims(t, 0);
  const y = flat
    ? forward(
        first(x),
        (given) => first(run(batch(given))),
        (given, value) => first(other(batch(given), batch(value))),
      )
    : forward(x, run, other);
  if (activation === 'prelu') return tf.prelu(y, slope!);
  if (activation === 'leakyrelu') return tf.leakyRelu(y, attrs['leakyreluAlpha'] as number);
  return activations[activation as string]?.(y) ?? y;
}

const activations: { readonly [name: string]: Forward } = { relu: tf.relu, relu6: tf.relu6, elu: tf.elu, sigmoid: tf.sigmoid };

/** The kernel that f runs first, if any: f is left there. */
function firstKernel(engine: object, f: (...args: unknown[]) => unknown, xs: tf.Tensor[]): string | undefined {
  let found: string | undefined;
  const undo = override(engine, {
    runKernel(kernel: string) {
      found = kernel;
      throw new Error(kernel);
    },
  });
  try {
    f(...xs, () => {});
  } catch {
    // f runs again, and throws what is its own
  } finally {
    undo();
  }
  return found;
}

/** tfjs and our tape name the scopes of the two passes. */
function inBackward(state: { readonly scopeStack: readonly { readonly name?: string }[] }): boolean {
  return state.scopeStack.findLast(({ name }) => name === 'forward' || name === 'backward')?.name === 'backward';
}
