/**
 * A block: a piece of a transformer as one kernel, so that backward keeps what the block's own gradient reads and nothing of what
 * happens inside. Forward and gradient are kernels by name (`RmsNorm`, `RmsNormGrad`); here they are composed of tfjs's ops and run
 * on every backend. A backend that registers a kernel of that name runs its own.
 *
 * The gradient is known to tfjs (`tf.grad`, `model.fit`) and, as one rule for all inputs, to the tape of @leantune/core, where
 * techniques see what waits by kernel and role: `RmsNorm`, `inputs.x`.
 */
import { type GradientRule, registerGradientRule } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';

export type Tensors = { readonly [name: string]: tf.Tensor };

export interface Block<A extends object> {
  /** Also the name of the kernel: `'RmsNorm'`. */
  readonly kernel: string;
  forward(inputs: Tensors, attrs: A): tf.Tensor[];
  /** Per input with a gradient, the values that it reads: inputs by name, outputs as `y`, `y1`. */
  readonly reads: { readonly [input: string]: readonly string[] };
  /** The gradients of `wanted`, in that order, from the values they read and `dy`. */
  backward(values: Tensors, attrs: A, wanted: readonly string[]): tf.Tensor[];
}

interface Wanted {
  readonly wanted: readonly string[];
}

const outputName = (i: number) => (i === 0 ? 'y' : `y${i}`);

/** The function that runs `block`; its kernels are registered when it first runs on a backend. */
export function defineBlock<A extends object>(block: Block<A>): (inputs: Tensors, attrs: A) => tf.Tensor[] {
  const { kernel, forward, backward } = block;
  const gradKernel = `${kernel}Grad`;
  return (inputs, attrs) => {
    if (!tf.getGradient(kernel)) registerGradients(block, gradKernel);
    ensureKernel<A>(kernel, forward);
    ensureKernel<A & Wanted>(gradKernel, (values, of) => backward(values, of, of.wanted));
    return [run(kernel, inputs, attrs)].flat();
  };
}

const run = (kernel: string, inputs: Tensors, attrs: object) =>
  tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap) as tf.Tensor | tf.Tensor[];

/**
 * Registers `compute` for the backend in use, unless that has a kernel of its own; and as `Composed…` in either case, for what a kernel of the
 * backend leaves to it.
 */
export function ensureKernel<A extends object>(kernel: string, compute: (inputs: Tensors, attrs: A) => tf.Tensor[]): void {
  const backendName = tf.getBackend();
  const missing = [kernel, `Composed${kernel}`].filter((name) => !tf.getKernel(name, backendName));
  if (missing.length === 0) return;
  const kernelFunc: tf.KernelFunc = ({ inputs, attrs }) => tf.tidy(() => compute(inputs as unknown as Tensors, attrs as unknown as A));
  for (const kernelName of missing) tf.registerKernel({ kernelName, backendName, kernelFunc });
}

function registerGradients<A extends object>({ kernel, reads }: Block<A>, gradKernel: string): void {
  const gradients = (dy: tf.Tensor, values: Tensors, attrs: object, wanted: readonly string[]) => {
    const dxs = [run(gradKernel, { ...values, dy }, { ...attrs, wanted })].flat();
    return Object.fromEntries(wanted.map((input, i) => [input, dxs[i]!]));
  };
  const readBy = (wanted: readonly string[]) => [...new Set(wanted.flatMap((input) => reads[input] ?? []))];
  const rule: GradientRule = {
    keep: ({ inputs, outputs, wanted }) => {
      const values: Tensors = { ...inputs, ...Object.fromEntries(outputs.map((y, i) => [outputName(i), y])) };
      return Object.fromEntries(readBy(wanted).map((name) => [name, values[name]!]));
    },
    backward: ([dy], kept, { attrs, wanted }) => gradients(dy!, kept, attrs, wanted),
  };
  registerGradientRule(kernel, rule);
  const all = readBy(Object.keys(reads));
  const isOutput = (name: string) => /^y\d*$/.test(name);
  tf.registerGradient({
    kernelName: kernel,
    inputsToSave: all.filter((name) => !isOutput(name)),
    outputsToSave: [0, 1].map((i) => all.includes(outputName(i))),
    gradFunc: (dys, saved, attrs) => {
      const names = [...all.filter((name) => !isOutput(name)), ...all.filter(isOutput)];
      const values = Object.fromEntries(names.map((name, i) => [name, saved[i]!]));
      const [dy] = [dys].flat();
      return Object.fromEntries(Object.keys(reads).map((input) => [input, () => gradients(dy!, values, attrs, [input])[input]!]));
    },
  });
}

/** The sum over all axes but the last: the gradient of a vector that was broadcast. */
export const sumRows = (x: tf.Tensor): tf.Tensor => tf.sum(tf.reshape(x, [-1, x.shape.at(-1)!]), 0);
