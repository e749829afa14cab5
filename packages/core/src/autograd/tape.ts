/**
 * The tape: what was run, what waits for backward, and the walk back.
 *
 * What differs from tfjs 4.22, with bit-identical gradients: an op with no differentiable input is not recorded; each wanted
 * input keeps only the values its gradient reads (`reads.ts`); values, dy and gradients go the moment they are read; nothing is
 * computed for unwanted inputs; branches that do not lead to the result are dropped before the walk.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Held as Holding } from '../memory/out-of-memory.ts';
import type { GradientRule, Kept } from '../technique.ts';
import { derivative, outputName, roleOf } from './derivative.ts';
import { Fusing } from './fusing.ts';
import { type Held, offRecord, Store, view } from './held.ts';
import { kernelRule } from './kernel-rules.ts';
import { mapValues } from './map-values.ts';
import { constant } from './reads.ts';
import type { Around, CustomGradient, Recorder, Recording, Tensors } from './recorder.ts';
import { type Attrs, broadcasts, spreads } from './rules.ts';
import { gather, ghost, gradientBytes, type Slot, whole } from './slot.ts';

type KernelRun = Parameters<GradientRule['keep']>[0];
type Recorded = [held: Held[], pull: Node['pull'], values?: Node['values']];
type Dys = readonly (tf.Tensor | undefined)[];
/** Whole, or in parts. */
type Gradients = ReturnType<GradientRule['backward']>;

export interface Node {
  readonly kernel: string;
  readonly layer: string;
  /** The wanted inputs, in the kernel's order. */
  readonly inputs: readonly (readonly [name: string, slot: Slot])[];
  readonly outputs: readonly Slot[];
  readonly held: readonly Held[];
  /** By the input whose value it is, of those kept as they are. */
  readonly values: ReadonlyMap<string, Held>;
  /** By core's own rules, which may take and give gradients that are to be broadcast. */
  readonly own: boolean;
  /** A gradient per wanted input. May drop held values early; the rest are dropped after. */
  readonly pull: (dys: Dys) => Gradients;
}

let layer = '';
export const currentLayer = (): string => layer;

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
  /** What is held for a kernel that is not a node yet: the next value to hold may fail. */
  #unrecorded: Held[] = [];
  readonly #store: Store;
  readonly #fusing: Fusing;
  readonly #around: Around;

  constructor(xs: readonly tf.Tensor[], extra: Recording, around: Around) {
    this.extra = extra;
    this.#around = around;
    this.#store = new Store((value) => first(extra.keep ?? [], (rule) => rule(value)), extra.isWeight ?? (() => false));
    this.#fusing = new Fusing(extra, (t) => this.#slots.get(t.id), around.wants);
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
    if (!slot) return;
    this.#slots.set(copy.id, slot);
    this.#fusing.handle(slot, copy);
  }

  record(kernel: string, given: Tensors, outputs: readonly tf.Tensor[], attrs: Attrs): void {
    tf.util.assert(
      !tf.getGradient(kernel)?.saveAllInputs || Array.isArray(given),
      () => 'saveAllInputs is true, expected inputs to be an array.',
    );
    const inputs: Tensors = Object.fromEntries(Object.entries(given).filter(([, t]) => t));
    for (const y of outputs) this.#store.note(y, kernel, inputs, attrs as tf.NamedAttrMap);
    const wanted = Object.keys(inputs).filter((name) => this.#slots.has(inputs[name]!.id));
    if (this.#around.innermost()) this.#fusing.sweep();
    if (wanted.length === 0 || constant.has(kernel)) return;
    const fused = this.#fusing.find(kernel, inputs, attrs, layer);
    const run = fused
      ? { ...fused, outputs, attrs, wanted: Object.keys(fused.slots), layer }
      : { kernel, inputs, outputs, attrs, wanted, layer };
    const rule = fused?.rule ?? first(this.extra.gradients ?? [], (gradients) => gradients[kernel]) ?? kernelRule(kernel);
    const [held, pull, values] = rule ? this.#byRule(rule, run) : this.#byInput(run);
    const node = this.#push(run.kernel, run.inputs, outputs, held, pull, !rule, values, fused?.slots);
    this.#fusing.add(node, outputs);
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

  hold(kernel: string, role: string, value: tf.Tensor | Kept | (() => Kept), parametric = false): Held {
    const held =
      value instanceof tf.Tensor
        ? this.#store.hold({ tensor: value, kernel, role, layer, parametric }, (copy) => this.#around.alias(copy, value))
        : this.#store.holdKept(value, kernel, layer);
    this.#unrecorded.push(held);
    return held;
  }

  #byRule(rule: GradientRule, run: KernelRun): Recorded {
    const { kernel, attrs, wanted } = run;
    const parametric = this.#isParametric(run);
    const role = (name: string, value: unknown) => (value === run.inputs[name] ? `inputs.${name}` : name);
    const kept = Object.entries(rule.keep(run)).map(
      ([name, value]) => [name, this.hold(kernel, role(name, value), value, parametric)] as const,
    );
    const inputs = mapValues(run.inputs, ({ shape, dtype }) => ({ shape, dtype }));
    return [
      kept.map(([, held]) => held),
      (dys) => rule.backward(dys, Object.fromEntries(kept.map(([name, held]) => [name, held.read()])), { kernel, inputs, attrs, wanted }),
    ];
  }

  /** One gradient after the other, each with the values it reads, which go after their last reader. */
  #byInput(run: KernelRun): Recorded {
    const { kernel, inputs, outputs, attrs, wanted } = run;
    const parametric = this.#isParametric(run);
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
          held.set(
            name,
            make ? this.#derive(kernel, name, () => make(inputs, attrs)) : this.hold(kernel, roleOf(name), values[name]!, parametric),
          );
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
    return [[...held.values()], pull, held];
  }

  #isParametric = ({ inputs }: KernelRun): boolean => Object.values(inputs).some((t) => this.#store.isWeight(t));

  /** Holds a value made for backward alone. */
  #derive(kernel: string, name: string, make: () => tf.Tensor): Held {
    const value = offRecord(() => tf.tidy(make));
    const held = this.hold(kernel, name, value);
    value.dispose();
    return held;
  }

  #push(
    kernel: string,
    inputs: Tensors,
    outputs: readonly tf.Tensor[],
    held: readonly Held[],
    pull: Node['pull'],
    own = false,
    values: Node['values'] = new Map(),
    slots: { readonly [input: string]: Slot } = {},
  ): Node {
    const wanted = Object.entries(inputs).flatMap(([name, { id }]) => {
      const slot = slots[name] ?? this.#slots.get(id);
      return slot ? [[name, slot] as const] : [];
    });
    const made = outputs.map(({ id, shape, dtype }) => {
      const slot: Slot = { grad: undefined, leaf: false, shape, dtype };
      this.#slots.set(id, slot);
      return slot;
    });
    const node = { kernel, layer, inputs: wanted, outputs: made, held, values, own, pull };
    this.#nodes.push(node);
    this.#fusing.reads(node);
    this.#unrecorded = [];
    return node;
  }

  /** The gradients of `y` with respect to the leaves, or undefined if y depends on none of them. Empties the tape. */
  backward(y: tf.Tensor, dy: tf.Tensor | null | undefined): (tf.Tensor | null)[] | undefined {
    const start = this.#slots.get(y.id);
    if (start) {
      this.#fusing.sweep();
      start.grad = dy ? this.#copy(dy) : tf.ones(y.shape);
      this.#prune(start);
      for (let node = this.#nodes.at(-1); node; node = this.#nodes.at(-1)) {
        this.#step(node);
        this.#nodes.pop(); // not before: if its gradient fails, `dispose` drops what it keeps
      }
    }
    return start && this.#leaves.map((slot) => (slot.grad ? whole(slot) : null));
  }

  held = (): Holding => ({ kept: this.#store.bytes(), gradients: gradientBytes(this.#leaves) });

  dispose(): void {
    for (const h of this.#unrecorded) h.drop();
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
        for (const dx of dxs[name] ?? [undefined])
          gather(slot, dx, node.own && spreads.has(node.kernel), `op ${node.kernel}. The gradient of input '${name}'`);
    }
    for (const h of node.held) h.drop();
  }

  /** Handles that belong to the tape: a gradient may be dy itself, a kept value, or one tensor for two inputs. */
  #own(dxs: Gradients, dys: Dys): { [name: string]: tf.Tensor[] } {
    const seen = new Set<tf.Tensor | undefined>(dys);
    const own = (dx: tf.Tensor) => {
      if (dx.kept || seen.has(dx)) return this.#copy(dx);
      seen.add(dx);
      return dx;
    };
    return mapValues(dxs, (parts) => [parts].flat().map((part) => own(part as tf.Tensor)));
  }

  #copy(t: tf.Tensor): tf.Tensor {
    const copy = view(t);
    this.#around.alias(copy, t);
    return copy;
  }
}

function first<T, R>(items: readonly T[], answer: (item: T) => R | undefined): R | undefined {
  for (const item of items) {
    const found = answer(item);
    if (found) return found;
  }
  return undefined;
}
