/** A kernel that is one op of our own: of the kernel's inputs by name, of attributes made from the kernel's. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs, Kernel } from '../kernels.ts';
import { loadAddon } from './addon.ts';
import type { TensorflowBackend } from './binding.ts';
import { type Attr, type Operand, withOps } from './raw.ts';

type Result = tf.TensorInfo | tf.TensorInfo[];
export type OwnKernel = Kernel<TensorflowBackend, Result>;
type OpAttrs = { readonly [name: string]: Attr };

const opsOf = new WeakMap<OwnKernel, readonly string[]>();

/** `kernel`, which runs the ops of those names. */
export function running(ops: readonly string[], kernel: OwnKernel): OwnKernel {
  opsOf.set(kernel, ops);
  return kernel;
}

/** The ops that a kernel of {@link own} or {@link running} runs. */
export const opsBehind = (kernel: OwnKernel): readonly string[] => opsOf.get(kernel) ?? [];

/** The kernel that is the op `Leantune<op>` of the named inputs; one that is not given is empty. @param outputs their types */
export const own = (
  op: string,
  inputs: readonly string[],
  attrs: (of: Attrs) => OpAttrs = () => ({}),
  outputs: readonly tf.DataType[] = ['float32'],
): OwnKernel =>
  running([op], (given, of, backend) =>
    withOps(backend, ({ constant, runMany, leave }) => {
      const operands = inputs.map((name): Operand => given[name] ?? constant(new Float32Array(0)));
      const made = runMany(`Leantune${op}`, attrs(of), operands, outputs.length);
      const results = made.map((handle, i) => leave(handle, outputs[i]!));
      return results.length === 1 ? results[0]! : results;
    }),
  );

/** Those of `kernels` whose ops are all among `names`. */
export const registered = (kernels: { readonly [kernel: string]: OwnKernel }, names: ReadonlySet<string>): typeof kernels =>
  Object.fromEntries(Object.entries(kernels).filter(([, kernel]) => opsBehind(kernel).every((op) => names.has(op))));

const namesOf = new WeakMap<object, ReadonlySet<string>>();

/** The ops of our own that can run, without `Leantune`: those of the addon, if it is there and TensorFlow computes on the CPU. */
export function ownNames(): ReadonlySet<string> {
  const backend = tf.findBackend('tensorflow') as TensorflowBackend | null;
  const known = backend && namesOf.get(backend);
  if (known || !backend) return known ?? new Set();
  const names = new Set(backend.isUsingGpuDevice ? [] : exported(backend));
  namesOf.set(backend, names);
  return names;
}

function exported(backend: TensorflowBackend): readonly string[] {
  try {
    return (loadAddon(backend, 'leantune_ops') as { readonly ops?: readonly string[] }).ops ?? [];
  } catch {
    return [];
  }
}
