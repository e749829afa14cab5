/**
 * Runs of several kernels that are differentiated as one, by a technique or by core itself (`own-fusions.ts`). A pattern is found at its
 * last kernel, which then is recorded with the pattern's inputs and rule. The runs in between stay on the tape, so that every gradient is
 * right whatever else reads what they made, until all of that is disposed: then nothing can, and they go, with what they keep.
 *
 * What a technique differentiates in its own way is never part of a pattern of core's.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Fused, TapeOp, TapeValue } from '../technique.ts';
import { knownNumber, readNumber } from './numbers.ts';
import { ownFusions } from './own-fusions.ts';
import type { Recording, Tensors } from './recorder.ts';
import type { Slot } from './slot.ts';
import type { Node } from './tape.ts';

type Found = Pick<Fused, 'kernel' | 'rule'> & {
  readonly inputs: Tensors;
  /** Of the inputs that gradients flow to, whatever tensor their value is read from. */
  readonly slots: { readonly [input: string]: Slot };
};

/** Runs in between, waiting until their outputs are gone, and the run that stands for them. */
interface Pattern {
  readonly nodes: readonly Node[];
  readonly last: Node;
}

export class Fusing {
  readonly #extra: Recording;
  /** The tape's own list. */
  readonly #nodes: Node[];
  readonly #slotOf: (t: tf.Tensor) => Slot | undefined;
  readonly #ops = new Map<Slot, TapeOp>();
  readonly #nodeOf = new Map<TapeOp, Node>();
  readonly #handles = new Map<Slot, tf.Tensor[]>();
  readonly #patterns = new Set<Pattern>();
  /** Last runs of patterns that techniques found. */
  readonly #claimed = new WeakSet<TapeOp>();
  /** The run that is being recorded, and the pattern it ends. */
  #op: TapeOp | undefined;
  #through: readonly TapeOp[] | undefined;
  /** Whether a run's own value is being read, which is no other handle on it. */
  #reading = false;
  #place = 0;
  readonly #start: number = tf.tidy(() => tf.scalar(0).id); // ids rise

  constructor(extra: Recording, nodes: Node[], slotOf: (t: tf.Tensor) => Slot | undefined) {
    this.#extra = extra;
    this.#nodes = nodes;
    this.#slotOf = slotOf;
  }

  /** The pattern that ends with this run of a kernel, if all its inputs can be read. */
  find(kernel: string, inputs: Tensors, attrs: TapeOp['attrs'], layer: string): Found | undefined {
    const op: TapeOp = { kernel, place: this.#place++, layer, attrs, inputs: {} };
    for (const name in inputs) (op.inputs as { [name: string]: TapeValue })[name] = this.#value(inputs[name]!, name, op);
    this.#op = op;
    this.#through = undefined;
    const { fusions = [] } = this.#extra;
    for (const fusion of fusions) {
      const found = this.#found(fusion(op));
      if (!found) continue;
      this.#claimed.add(op);
      return found;
    }
    for (const fusion of ownFusions) {
      const fused = fusion(op);
      const found = fused && !this.#claims(op, fused) ? this.#found(fused) : undefined;
      if (found) return found;
    }
    return undefined;
  }

  #found(fused: Fused | undefined): Found | undefined {
    if (!fused) return undefined;
    const { kernel, rule, through } = fused;
    const values = Object.entries(fused.inputs).map(([name, value]) => [name, value.read()] as const);
    const slots = Object.entries(fused.inputs).flatMap(([name, { constant, id }]) => (constant ? [] : [[name, id as Slot] as const]));
    if (values.some(([, tensor]) => !tensor) || slots.length === 0) return undefined;
    this.#through = through;
    return { kernel, rule, inputs: Object.fromEntries(values) as Tensors, slots: Object.fromEntries(slots) };
  }

  /** Whether a technique differentiates a part of the pattern in its own way. */
  #claims(last: TapeOp, { through }: Fused): boolean {
    const { gradients = [] } = this.#extra;
    return [last, ...through].some((op) => this.#claimed.has(op) || gradients.some((rules) => rules[op.kernel]));
  }

  #value(tensor: tf.Tensor, name: string, op: TapeOp): TapeValue {
    const [slot, start] = [this.#slotOf(tensor), this.#start];
    const constant = !slot && tensor.size === 1;
    let number = constant ? knownNumber(tensor) : undefined;
    return {
      shape: tensor.shape,
      id: slot ?? tensor.dataId,
      from: slot && this.#ops.get(slot),
      constant: !slot,
      get number() {
        if (constant) number ??= readNumber(tensor, tensor.id < start);
        return number;
      },
      read: () => (tensor.isDisposed ? this.#kept(op, name) : tensor),
    };
  }

  /** What the run keeps of an input. That it is read here keeps no run on the tape. */
  #kept(op: TapeOp, name: string): tf.Tensor | undefined {
    this.#reading = true;
    const value = this.#nodeOf.get(op)?.values.get(name)?.read();
    this.#reading = false;
    return value;
  }

  /** The run found last has been recorded as `node`. */
  add(node: Node, outputs: readonly tf.Tensor[]): void {
    const op = this.#op!;
    this.#nodeOf.set(op, node);
    node.outputs.forEach((slot, i) => {
      this.#ops.set(slot, op);
      this.#handles.set(slot, [outputs[i]!]);
    });
    const nodes = this.#through?.flatMap((between) => this.#nodeOf.get(between) ?? []);
    if (nodes) this.#patterns.add({ nodes, last: node });
  }

  /** A tensor is another handle on a value. */
  handle(slot: Slot, copy: tf.Tensor): void {
    if (!this.#reading) this.#handles.get(slot)?.push(copy);
  }

  /** Drops the runs whose outputs nothing can read any more. */
  sweep(): void {
    for (const pattern of this.#patterns) {
      const gone = pattern.nodes.every(({ outputs }) => outputs.every((slot) => this.#handles.get(slot)!.every((t) => t.isDisposed)));
      if (!gone) continue;
      this.#patterns.delete(pattern);
      const inside = new Set(pattern.nodes);
      const made = new Set(pattern.nodes.flatMap(({ outputs }) => outputs));
      if (this.#nodes.some((node) => !inside.has(node) && node.inputs.some(([, slot]) => made.has(slot)))) continue;
      for (const node of inside) {
        const at = this.#nodes.lastIndexOf(node);
        if (at >= 0) this.#nodes.splice(at, 1);
        for (const held of node.held) held.drop();
        for (const slot of node.outputs) this.#ops.delete(slot);
      }
    }
  }
}
