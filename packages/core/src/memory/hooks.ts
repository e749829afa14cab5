/**
 * Where the books learn what happens: the engine's own methods, replaced on the instance while anyone listens.
 *
 *   trackTensor / removeDataId    a buffer is born / freed (handles come and go in between)
 *   addTapeNode                   stock tfjs: what a kernel saves for backward, and the gradients of variables
 *   Optimizer.applyGradients      stock tfjs: variables made in it are the optimizer's
 *
 * One set of hooks serves all ledgers, so that they may start and stop in any order.
 */
import * as tf from '@tensorflow/tfjs-core';
import { override } from '../override.ts';
import type { Undo } from '../technique.ts';
import type { Ledger } from './ledger.ts';

type Method = (...args: never[]) => unknown;
type Original = (this: unknown, ...args: any[]) => unknown;
type Gradients = { [input: string]: () => tf.Tensor };
interface TapeNode {
  gradient?: (dys: tf.Tensor[]) => Gradients;
}

const listeners = new Set<Ledger>();
let undo: Undo[] = [];
/** Depth of applyGradients calls. */
let stepping = 0;

export function listen(ledger: Ledger): void {
  if (listeners.size === 0) undo = [...hookBuffers(), ...hookTape(), ...hookOptimizers()];
  listeners.add(ledger);
}

export function unlisten(ledger: Ledger): void {
  if (!listeners.delete(ledger) || listeners.size > 0) return;
  for (const restore of undo.splice(0)) restore();
}

/** The variables that a stock optimizer, or the one that another wraps as `inner`, holds in its fields. */
export function slotsOf(optimizer: object): tf.Variable[] {
  const { inner = optimizer } = optimizer as { inner?: object };
  return Object.values(inner)
    .flat()
    .map((field) => (field instanceof tf.Tensor ? field : field?.variable))
    .filter((field) => field instanceof tf.Variable);
}

function hookBuffers(): Undo[] {
  const engine = tf.engine();
  return [
    hook(engine, 'trackTensor', (original) => (a: tf.Tensor, backend: tf.KernelBackend) => {
      const isNew = !engine.state.tensorInfo.has(a.dataId);
      original.call(engine, a, backend);
      for (const ledger of listeners) ledger.track(a, isNew, stepping > 0);
    }),
    // Not disposeTensor: only here is a buffer known to be free, whoever else had a handle on it.
    hook(engine, 'removeDataId', (original) => (dataId: object, backend: tf.KernelBackend) => {
      original.call(engine, dataId, backend);
      if (!engine.state.tensorInfo.has(dataId)) for (const ledger of listeners) ledger.close(dataId);
    }),
    hook(engine, 'disposeTensor', (original) => (a: tf.Tensor) => {
      original.call(engine, a);
      for (const ledger of listeners) ledger.drop(a);
    }),
  ];
}

function hookTape(): Undo[] {
  const engine = tf.engine();
  const mark = (gradient: tf.Tensor) => {
    for (const ledger of listeners) ledger.gradient(gradient.dataId);
    return gradient;
  };
  const addTapeNode =
    (original: Original): Method =>
    (kernel: string, inputs: tf.NamedTensorMap, ...rest: [tf.Tensor[], unknown, tf.Tensor[], unknown]) => {
      original.call(engine, kernel, inputs, ...rest);
      for (const saved of rest[2]) {
        for (const ledger of listeners) ledger.hold(saved, 0, kernel.replace('__op', ''), '', saved.dataId);
      }
      const node = engine.state.activeTape.at(-1) as TapeNode;
      const backward = node.gradient;
      if (!backward) return;
      node.gradient = (dys) => {
        const gradients = Object.entries(backward(dys));
        const marked = gradients.map(([name, gradient]) => [name, inputs[name] instanceof tf.Variable ? () => mark(gradient()) : gradient]);
        return Object.fromEntries(marked);
      };
    };
  return [
    hook(engine, 'addTapeNode', addTapeNode),
    // Sums, where a variable is used more than once.
    hook(engine, 'gradients', (original) => (...args: unknown[]) => {
      const result = original.apply(engine, args) as { grads: (tf.Tensor | undefined)[] };
      for (const gradient of result.grads) if (gradient) mark(gradient);
      return result;
    }),
  ];
}

function hookOptimizers(): Undo[] {
  // SGD has no slots.
  const stock = [
    tf.MomentumOptimizer,
    tf.AdagradOptimizer,
    tf.AdadeltaOptimizer,
    tf.AdamOptimizer,
    tf.AdamaxOptimizer,
    tf.RMSPropOptimizer,
  ];
  return stock.map(({ prototype }) =>
    hook(
      prototype,
      'applyGradients',
      (original) =>
        function (this: tf.Optimizer, ...args: unknown[]): unknown {
          for (const ledger of listeners) ledger.label(slotsOf(this), 'optimizer');
          stepping++;
          try {
            return original.apply(this, args);
          } finally {
            stepping--;
          }
        },
    ),
  );
}

/** Replaces a method on `target` itself; the result puts back what was there, unless someone else has replaced it since. */
function hook(target: object, name: string, wrap: (original: Original) => Method): Undo {
  const methods = target as { [name: string]: any };
  const wrapped = wrap(methods[name]);
  const restore = override(target, { [name]: wrapped });
  return () => {
    if (methods[name] === wrapped) restore();
  };
}
