/**
 * Runs of several kernels that are differentiated as one, by a technique or by core itself (`own-fusions.ts`). A pattern is found at its
 * last kernel, which then is recorded with the pattern's inputs and rule. The runs in between stay on the tape, so that every gradient is
 * right whatever else reads what they made, until all of that is disposed: then nothing can, and what they keep goes.
 *
 * What a technique differentiates in its own way is never part of a pattern of core's.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Fused, TapeOp, TapeValue } from '../technique.ts';
import { kernelRule } from './kernel-rules.ts';
import { knownNumber, readNumber } from './numbers.ts';
import { ownFusions } from './own-fusions.ts';
import type { Around, Recording, Tensors } from './recorder.ts';
import type { Slot } from './slot.ts';
import type { Node } from './tape.ts';

type Found = Pick<Fused, 'kernel' | 'rule'> & {
  readonly inputs: Tensors;
  /** Of the inputs that gradients flow to, whatever tensor their value is read from. */
  readonly slots: { readonly [input: string]: Slot };
};

/** Runs in between, waiting until their outputs are gone. */
interface Pattern {
  readonly nodes: readonly Node[];
  /** A handle on one of these outputs: while it lives, no other need be looked at. */
  living: tf.Tensor | undefined;
}

export class Fusing {
  readonly #extra: Recording;
  readonly #slotOf: (t: tf.Tensor) => Slot | undefined;
  readonly #wants: Around['wants'];
  readonly #ops = new Map<Slot, TapeOp>();
  readonly #nodeOf = new Map<TapeOp, Node>();
  readonly #handles = new Map<Slot, tf.Tensor[]>();
  readonly #readers = new Map<Slot, Set<Node>>();
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

  constructor(extra: Recording, slotOf: (t: tf.Tensor) => Slot | undefined, wants: Around['wants']) {
    this.#extra = extra;
    this.#slotOf = slotOf;
    this.#wants = wants;
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

  /** Whether a technique or another package differentiates a part of the pattern in its own way. */
  #claims(last: TapeOp, { through }: Fused): boolean {
    const { gradients = [] } = this.#extra;
    const ruled = ({ kernel }: TapeOp) => kernelRule(kernel) ?? gradients.find((rules) => rules[kernel]);
    return [last, ...through].some((op) => this.#claimed.has(op) || ruled(op));
  }

  #value(tensor: tf.Tensor, name: string, op: TapeOp): TapeValue {
    const [slot, start] = [this.#slotOf(tensor), this.#start];
    const constant = tensor.size === 1 && !this.#wants(tensor); // for a tape outside it may be no constant
    let number = constant ? knownNumber(tensor) : undefined;
    const { dataId } = tensor;
    const there = () => !tensor.isDisposed && tensor.dataId === dataId; // a variable may be assigned meanwhile
    return {
      shape: tensor.shape,
      id: slot ?? dataId,
      from: slot && this.#ops.get(slot),
      constant: !slot,
      get number() {
        if (constant && there()) number ??= readNumber(tensor, tensor.id < start);
        return number;
      },
      read: () => (there() ? tensor : this.#kept(op, name)),
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
    if (nodes) this.#patterns.add({ nodes, living: undefined });
  }

  /** Of every node of the tape. */
  reads(node: Node): void {
    for (const [, slot] of node.inputs) {
      const readers = this.#readers.get(slot);
      if (readers) readers.add(node);
      else this.#readers.set(slot, new Set([node]));
    }
  }

  /** A tensor is another handle on a value. */
  handle(slot: Slot, copy: tf.Tensor): void {
    if (!this.#reading) this.#handles.get(slot)?.push(copy);
  }

  /** Lets go what runs keep whose outputs nothing can read any more. No gradient reaches them. */
  sweep(): void {
    for (const pattern of this.#patterns) {
      if (pattern.living && !pattern.living.isDisposed) continue;
      const made = pattern.nodes.flatMap(({ outputs }) => outputs);
      pattern.living = made.flatMap((slot) => this.#handles.get(slot)!).find((t) => !t.isDisposed);
      if (pattern.living) continue;
      this.#patterns.delete(pattern);
      const inside = new Set(pattern.nodes);
      if (made.some((slot) => [...(this.#readers.get(slot) ?? [])].some((node) => !inside.has(node)))) continue;
      for (const node of inside) {
        for (const held of node.held) held.drop();
        for (const [, slot] of node.inputs) this.#readers.get(slot)!.delete(node);
        for (const slot of node.outputs) this.#ops.delete(slot);
      }
    }
  }
}
