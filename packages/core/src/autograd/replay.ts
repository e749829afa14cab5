/**
 * The gradient of a pattern in tfjs's ops: its runs once more, from what the pattern was given, and back through them one by one. It is
 * the gradient that they would have had by themselves, for one more forward of the pattern and nothing kept in between.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { TapeOp, TapeValue } from '../technique.ts';
import { derivative } from './derivative.ts';
import type { Tensors } from './recorder.ts';
import { broadcasts } from './rules.ts';

interface Run {
  readonly op: TapeOp;
  readonly inputs: Tensors;
  /** The inputs that gradients flow to. */
  readonly names: readonly string[];
  /** The output's; that of the last run, which is not computed again, is the run itself. */
  readonly id: object;
  readonly y?: tf.Tensor;
}

/**
 * Borrows what it is given. Runs in a tidy.
 *
 * @param given values by their id: where the pattern begins
 * @returns the gradients of those in `wanted`
 */
export function replay(last: TapeOp, given: ReadonlyMap<object, tf.Tensor>, dy: tf.Tensor, wanted: readonly object[]): tf.Tensor[] {
  const grads = new Map<object, tf.Tensor>([[last, dy]]);
  for (const { op, inputs, names, id, y } of forward(last, given, wanted).reverse()) {
    const own = grads.get(id)!;
    const dOut = y && !broadcasts.has(op.kernel) ? whole(own, y.shape) : own;
    for (const name of names) {
      const { gradient, derived = {} } = derivative(op.kernel, op.layer, name, inputs, op.attrs);
      const made = Object.fromEntries(Object.entries(derived).map(([of, make]) => [of, make(inputs, op.attrs)]));
      const dx = gradient([dOut], { ...inputs, ...(y && { y }), ...made });
      const of = op.inputs[name]!.id;
      const before = grads.get(of);
      grads.set(of, before ? tf.add(before, dx) : dx);
    }
    if (y) tf.dispose([y, own, dOut].filter((t) => ![...grads].some(([of, other]) => of !== id && other === t)));
    grads.delete(id);
  }
  return wanted.map((id) => whole(grads.get(id)!, given.get(id)!.shape));
}

/** The runs that gradients flow through, in order. */
function forward(last: TapeOp, given: ReadonlyMap<object, tf.Tensor>, wanted: readonly object[]): Run[] {
  const runs: Run[] = [];
  const values = new Map(given);
  const live = new Set(wanted);
  const valueFor = ({ id, from, number, shape }: TapeValue): tf.Tensor => {
    if (!values.has(id)) values.set(id, from ? run(from, id) : tf.fill([...shape], number!));
    return values.get(id)!;
  };
  const run = (op: TapeOp, id: object): tf.Tensor => {
    const inputs = Object.fromEntries(Object.entries(op.inputs).map(([name, value]) => [name, valueFor(value)]));
    const y = tf.engine().runKernel(op.kernel, inputs, op.attrs as tf.NamedAttrMap) as tf.Tensor;
    const names = Object.keys(inputs).filter((name) => live.has(op.inputs[name]!.id));
    if (names.length > 0) runs.push({ op, inputs, names, id, y });
    if (names.length > 0) live.add(id);
    return y;
  };
  const inputs = Object.fromEntries(Object.entries(last.inputs).map(([name, value]) => [name, valueFor(value)]));
  runs.push({ op: last, inputs, names: Object.keys(inputs).filter((name) => live.has(last.inputs[name]!.id)), id: last });
  return runs;
}

const whole = (gradient: tf.Tensor, shape: number[]): tf.Tensor =>
  tf.util.arraysEqual(gradient.shape, shape) ? gradient : tf.broadcastTo(gradient, shape);
