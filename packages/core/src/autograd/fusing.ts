/**
 * Runs of several kernels that a technique differentiates as one. A pattern is found at its last kernel, which then is recorded with
 * the pattern's inputs and rule. The runs in between stay on the tape, so that every gradient is right whatever else reads what they
 * made, until all of that is disposed: then nothing can, and they go, with what they keep.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Fused, Fusion, TapeOp, TapeValue } from '../technique.ts';
import type { Tensors } from './recorder.ts';
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
  readonly #fusions: readonly Fusion[];
  /** The tape's own list. */
  readonly #nodes: Node[];
  readonly #slotOf: (t: tf.Tensor) => Slot | undefined;
  readonly #ops = new Map<Slot, TapeOp>();
  readonly #nodeOf = new Map<TapeOp, Node>();
  readonly #handles = new Map<Slot, tf.Tensor[]>();
  readonly #patterns = new Set<Pattern>();
  /** The run that is being recorded, and the pattern it ends. */
  #op: TapeOp | undefined;
  #through: readonly TapeOp[] | undefined;

  constructor(fusions: readonly Fusion[], nodes: Node[], slotOf: (t: tf.Tensor) => Slot | undefined) {
    this.#fusions = fusions;
    this.#nodes = nodes;
    this.#slotOf = slotOf;
  }

  /** The pattern that ends with this run of a kernel, if all its inputs can be read. */
  find(kernel: string, inputs: Tensors, attrs: TapeOp['attrs'], layer: string): Found | undefined {
    const op: TapeOp = { kernel, layer, attrs, inputs: {} };
    for (const name in inputs) (op.inputs as { [name: string]: TapeValue })[name] = this.#value(inputs[name]!, name, op);
    this.#op = op;
    this.#through = undefined;
    for (const fusion of this.#fusions) {
      const fused = fusion(op);
      if (!fused) continue;
      const values = Object.entries(fused.inputs).map(([name, value]) => [name, value.read()] as const);
      if (values.some(([, tensor]) => !tensor)) continue;
      const slots = Object.entries(fused.inputs).flatMap(([name, { constant, id }]) => (constant ? [] : [[name, id as Slot] as const]));
      if (slots.length === 0) continue;
      this.#through = fused.through;
      return {
        kernel: fused.kernel,
        rule: fused.rule,
        inputs: Object.fromEntries(values) as Tensors,
        slots: Object.fromEntries(slots),
      };
    }
    return undefined;
  }

  #value(tensor: tf.Tensor, name: string, op: TapeOp): TapeValue {
    const slot = this.#slotOf(tensor);
    return {
      shape: tensor.shape,
      id: slot ?? tensor.dataId,
      from: slot && this.#ops.get(slot),
      constant: !slot,
      number: !slot && tensor.size === 1 && tensor.dtype !== 'string' ? (tensor.dataSync()[0] as number) : undefined,
      read: () => (tensor.isDisposed ? this.#nodeOf.get(op)?.values.get(name)?.read() : tensor),
    };
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
    this.#handles.get(slot)?.push(copy);
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
