/**
 * The tape: what was run, what waits for backward, and the walk back.
 *
 * What differs from tfjs 4.22, with bit-identical gradients: an op with no differentiable input is not recorded; each wanted
 * input keeps only the values its gradient reads (`reads.ts`); values, dy and gradients go the moment they are read; nothing is
 * computed for unwanted inputs; branches that do not lead to the result are dropped before the walk.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { GradientRule, GradientRules, KeepRule, Kept } from '../technique.ts';
import { derivative, outputName } from './derivative.ts';
import { type Held, offRecord, Store, view } from './held.ts';
import { kernelRule } from './kernel-rules.ts';
import { constant } from './reads.ts';
import { type Attrs, broadcasts, spreads } from './rules.ts';
import { gather, type Shape, type Slot, whole } from './slot.ts';

/** What techniques and models add to a recording. */
export interface Recording {
  readonly gradients?: readonly GradientRules[];
  readonly keep?: readonly KeepRule[];
  /** True for frozen weights that are not variables: waiting costs nothing, and no codec touches them. */
  readonly isWeight?: (t: tf.Tensor) => boolean;
}

export type Tensors = { readonly [name: string]: tf.Tensor };
/** As tfjs's engine calls it: gradients by input, each computed by a function. */
export type CustomGradient = (dy: tf.Tensor, saved: tf.Tensor[]) => { readonly [input: string]: () => tf.Tensor };

type Dys = readonly (tf.Tensor | undefined)[];

interface Node {
  readonly kernel: string;
  readonly layer: string;
  /** The wanted inputs, in the kernel's order. */
  readonly inputs: readonly (readonly [name: string, slot: Slot])[];
  readonly outputs: readonly Slot[];
  readonly held: readonly Held[];
  /** By core's own rules, which may take and give gradients that are to be broadcast. */
  readonly own: boolean;
  /** A gradient per wanted input. May drop held values early; the rest are dropped after. */
  readonly pull: (dys: Dys) => Tensors;
}

/** What sees the ops that run while a function is recorded. */
export interface Recorder {
  readonly extra: Recording;
  /** True if a gradient with respect to any of `inputs` is wanted. */
  wants(inputs: readonly (tf.Tensor | null | undefined)[]): boolean;
  /** Records one run of a kernel, if any of its inputs is differentiable. */
  record(kernel: string, inputs: Tensors, outputs: readonly tf.Tensor[], attrs: Attrs): void;
  /** Records an op with a gradient of its own (tf.customGrad): all it saved waits, all its gradients are computed. */
  recordCustom(inputs: Tensors, output: tf.Tensor, held: readonly Held[], gradient: CustomGradient): void;
  /** Lets a value wait for backward. */
  hold(kernel: string, role: string, value: tf.Tensor | Kept): Held;
  /** Makes `copy` the same value as `t`. */
  link(copy: tf.Tensor, t: tf.Tensor): void;
}

let layer = '';

/** Labels the kernels that `run` runs with a layer's name, for reports and errors. */
export function inLayer<T>(name: string, run: () => T): T {
  const outer = layer;
  layer = name;
  try {
    return run();
  } finally {
    layer = outer;
  }
}

export class Tape implements Recorder {
  readonly extra: Recording;
  readonly #leaves: readonly Slot[];
  readonly #slots = new Map<number, Slot>();
  readonly #nodes: Node[] = [];
  readonly #store: Store;
  /** Told when a tensor is another handle on a value. */
  readonly #alias: (copy: tf.Tensor, t: tf.Tensor) => void;

  constructor(xs: readonly tf.Tensor[], extra: Recording, alias: (copy: tf.Tensor, t: tf.Tensor) => void) {
    this.extra = extra;
    this.#alias = alias;
    this.#store = new Store((value) => first(extra.keep ?? [], (rule) => rule(value)), extra.isWeight ?? (() => false));
    this.#leaves = xs.map(({ id, shape, dtype }) => {
      const slot = this.#slots.get(id) ?? { grad: undefined, leaf: true, shape, dtype };
      this.#slots.set(id, slot);
      return slot;
    });
  }

  wants(inputs: readonly (tf.Tensor | null | undefined)[]): boolean {
    return inputs.some((t) => t && this.#slots.has(t.id));
  }

  link(copy: tf.Tensor, t: tf.Tensor): void {
    const slot = this.#slots.get(t.id);
    if (slot) this.#slots.set(copy.id, slot);
  }

  record(kernel: string, given: Tensors, outputs: readonly tf.Tensor[], attrs: Attrs): void {
    tf.util.assert(
      !tf.getGradient(kernel)?.saveAllInputs || Array.isArray(given),
      () => 'saveAllInputs is true, expected inputs to be an array.',
    );
    const inputs: Tensors = Object.fromEntries(Object.entries(given).filter(([, t]) => t));
    for (const y of outputs) this.#store.note(y, kernel, inputs, attrs as tf.NamedAttrMap);
    const wanted = Object.keys(inputs).filter((name) => this.#slots.has(inputs[name]!.id));
    if (wanted.length === 0 || constant.has(kernel)) return;
    const rule = first(this.extra.gradients ?? [], (gradients) => gradients[kernel]) ?? kernelRule(kernel);
    const [held, pull] = rule
      ? this.#byRule(rule, { kernel, inputs, outputs, attrs, wanted })
      : this.#byInput(kernel, inputs, outputs, attrs, wanted);
    this.#push(kernel, inputs, outputs, held, pull, !rule);
  }

  recordCustom(inputs: Tensors, output: tf.Tensor, held: readonly Held[], gradient: CustomGradient): void {
    const pull = ([dy]: Dys) =>
      mapValues(
        gradient(
          dy!,
          held.map((h) => h.read()),
        ),
        (dx) => dx(),
      );
    this.#push('customGrad', inputs, [output], held, pull);
  }

  hold(kernel: string, role: string, value: tf.Tensor | Kept): Held {
    if (value instanceof tf.Tensor) return this.#store.hold({ tensor: value, kernel, role, layer }, (copy) => this.#alias(copy, value));
    return this.#store.holdKept(value, kernel, layer);
  }

  #byRule(rule: GradientRule, run: Parameters<GradientRule['keep']>[0]): [Held[], Node['pull']] {
    const { kernel, attrs, wanted } = run;
    const role = (name: string, value: unknown) => (value === run.inputs[name] ? `inputs.${name}` : name);
    const kept = Object.entries(rule.keep(run)).map(([name, value]) => [name, this.hold(kernel, role(name, value), value)] as const);
    const inputs = mapValues(run.inputs, ({ shape, dtype }) => ({ shape, dtype }));
    return [
      kept.map(([, held]) => held),
      (dys) => rule.backward(dys, Object.fromEntries(kept.map(([name, held]) => [name, held.read()])), { kernel, inputs, attrs, wanted }),
    ];
  }

  /** One gradient after the other, each with the values it reads, which go after their last reader. */
  #byInput(
    kernel: string,
    inputs: Tensors,
    outputs: readonly tf.Tensor[],
    attrs: Attrs,
    wanted: readonly string[],
  ): [Held[], Node['pull']] {
    const at = layer;
    const values: Tensors = { ...inputs, ...Object.fromEntries(outputs.map((y, i) => [outputName(i), y])) };
    const parts = wanted.map((input) => ({ input, size: inputs[input]!.size, ...derivative(kernel, at, input, inputs, attrs) }));
    parts.sort((a, b) => a.size - b.size); // the gradients of small inputs tend to read the large values: those go first
    const held = new Map<string, Held>();
    const readers = new Map<string, number>();
    for (const part of parts) {
      for (const name of part.reads) {
        const make = part.derived?.[name];
        if (!(make || values[name])) continue;
        if (!held.has(name))
          held.set(name, make ? this.#derive(kernel, name, () => make(inputs, attrs)) : this.hold(kernel, roleOf(name), values[name]!));
        readers.set(name, (readers.get(name) ?? 0) + 1);
      }
    }
    const shapes = mapValues(values, ({ shape, dtype }) => ({ shape, dtype }));
    const outs = outputs.map(({ shape, dtype }) => ({ shape, dtype }));
    const pull = (dys: Dys) => {
      const all = dys.map((dy, i) => dy ?? tf.zeros(outs[i]!.shape, outs[i]!.dtype as 'float32'));
      const ghosts = mapValues(shapes, ghost);
      const dxs: { [input: string]: tf.Tensor } = {};
      for (const part of parts) {
        dxs[part.input] = tf.tidy(() => {
          const read = { ...ghosts };
          for (const name of part.reads) if (held.has(name)) read[name] = held.get(name)!.read();
          return part.gradient(all, read);
        });
        for (const name of part.reads) {
          const left = (readers.get(name) ?? 0) - 1;
          readers.set(name, left);
          if (left === 0) held.get(name)!.drop();
        }
      }
      return dxs;
    };
    return [[...held.values()], pull];
  }

  /** Holds a value made for backward alone. */
  #derive(kernel: string, name: string, make: () => tf.Tensor): Held {
    const value = offRecord(() => tf.tidy(make));
    const held = this.hold(kernel, name, value);
    value.dispose();
    return held;
  }

  #push(kernel: string, inputs: Tensors, outputs: readonly tf.Tensor[], held: readonly Held[], pull: Node['pull'], own = false): void {
    const wanted = Object.entries(inputs).flatMap(([name, { id }]) => {
      const slot = this.#slots.get(id);
      return slot ? [[name, slot] as const] : [];
    });
    const made = outputs.map(({ id, shape, dtype }) => {
      const slot: Slot = { grad: undefined, leaf: false, shape, dtype };
      this.#slots.set(id, slot);
      return slot;
    });
    this.#nodes.push({ kernel, layer, inputs: wanted, outputs: made, held, own, pull });
  }

  /** The gradients of `y` with respect to the leaves, or undefined if y depends on none of them. Empties the tape. */
  backward(y: tf.Tensor, dy: tf.Tensor | null | undefined): (tf.Tensor | null)[] | undefined {
    const start = this.#slots.get(y.id);
    if (start) {
      start.grad = dy ? this.#copy(dy) : tf.ones(y.shape);
      this.#prune(start);
      while (this.#nodes.length > 0) this.#step(this.#nodes.pop()!);
    }
    return start && this.#leaves.map((slot) => (slot.grad ? whole(slot) : null));
  }

  dispose(): void {
    for (const node of this.#nodes) for (const h of node.held) h.drop();
  }

  #prune(y: Slot): void {
    const live = new Set([y]);
    for (const node of [...this.#nodes].reverse()) {
      if (node.outputs.some((slot) => live.has(slot))) for (const [, slot] of node.inputs) live.add(slot);
      else for (const h of node.held) h.drop();
    }
  }

  #step(node: Node): void {
    if (node.outputs.some((slot) => slot.grad)) {
      const dys = node.outputs.map((slot) => (slot.grad && !(node.own && broadcasts.has(node.kernel)) ? whole(slot) : slot.grad));
      const dxs = tf.tidy(() => this.#own(node.pull(dys), dys));
      for (const slot of node.outputs) {
        slot.grad?.dispose();
        slot.grad = undefined;
      }
      for (const h of node.held) h.drop();
      for (const [name, slot] of node.inputs)
        gather(slot, dxs[name], node.own && spreads.has(node.kernel), `op ${node.kernel}. The gradient of input '${name}'`);
    }
    for (const h of node.held) h.drop();
  }

  /** Handles that belong to the tape: a gradient may be dy itself, a kept value, or one tensor for two inputs. */
  #own(dxs: Tensors, dys: Dys): Tensors {
    const seen = new Set<tf.Tensor | undefined>(dys);
    return mapValues(dxs, (dx) => {
      if (!(dx.kept || seen.has(dx))) {
        seen.add(dx);
        return dx;
      }
      return this.#copy(dx);
    });
  }

  #copy(t: tf.Tensor): tf.Tensor {
    const copy = view(t);
    this.#alias(copy, t);
    return copy;
  }
}

const roleOf = (name: string) => (/^y\d*$/.test(name) ? `outputs.${Number(name.slice(1))}` : `inputs.${name}`);

/** A tensor without a value: what a gradient gets that reads only a shape. */
const ghost = ({ shape, dtype }: Shape) => new tf.Tensor(shape, dtype, {}, -1);

function mapValues<T, R>(of: { readonly [name: string]: T }, f: (value: T) => R): { [name: string]: R } {
  const mapped: { [name: string]: R } = {};
  for (const name in of) mapped[name] = f(of[name]!);
  return mapped;
}

function first<T, R>(items: readonly T[], answer: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = answer(item);
    if (found) return found;
  }
  return undefined;
}
