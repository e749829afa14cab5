/**
 * The gradient of a pattern in tfjs's ops: its runs once more, from what the pattern was given, and back through them one by one. It is
 * the gradient that they would have had by themselves, for one more forward of the pattern and nothing kept in between.
 */
import * as tf from '@tensorflow/tfjs-core';
import { plain } from '../patterns/trail.ts';
import type { TapeOp, TapeValue } from '../technique.ts';
import { derivative } from './derivative.ts';
import type { Tensors } from './recorder.ts';
import { broadcasts } from './rules.ts';

type Values = { readonly [name: string]: TapeValue };

interface Step {
  readonly op: TapeOp;
  /** Of the output, and of each input, by which they are found. A value that only moves or copies numbers is the value that it moves. */
  readonly id: object;
  readonly of: { readonly [input: string]: object };
}

/**
 * Of each of `wanted` the parts of its gradient, to be added one by one as those of runs by themselves would be, from what the pattern
 * was given, by name, and dy. Both are borrowed; what else is made is the caller's to tidy.
 */
export type Replay = (given: Tensors, dy: tf.Tensor, wanted: readonly string[]) => tf.Tensor[][];

/** @returns undefined if the runs up to `last` read anything but `inputs` and numbers */
export function replayOf(last: TapeOp, inputs: Values): Replay | undefined {
  const starts = new Map(Object.entries(inputs).map(([name, value]) => [plain(value).id, name]));
  if (starts.size < Object.keys(inputs).length) return undefined; // one value for two of them
  const steps: Step[] = [];
  const planned = new Set<object>();
  let closed = true;
  const plan = (op: TapeOp, id: object): void => {
    planned.add(id);
    const of = Object.entries(op.inputs).map(([name, value]) => {
      const { id } = plain(value);
      if (starts.has(id) || value.number !== undefined || planned.has(value.id)) return [name, starts.has(id) ? id : value.id] as const;
      if (value.from) plan(value.from, value.id);
      else closed = false;
      return [name, value.id] as const;
    });
    steps.push({ op, id, of: Object.fromEntries(of) });
  };
  plan(last, last);
  steps.sort((a, b) => a.op.place - b.op.place);
  return closed ? (given, dy, wanted) => replay({ steps, starts, given, dy, wanted }) : undefined;
}

interface Replayed {
  readonly steps: readonly Step[];
  readonly starts: ReadonlyMap<object, string>;
  readonly given: Tensors;
  readonly dy: tf.Tensor;
  readonly wanted: readonly string[];
}

function replay({ steps, starts, given, dy, wanted }: Replayed): tf.Tensor[][] {
  const values = new Map<object, tf.Tensor>();
  const live = new Set<object>();
  for (const [id, name] of starts) {
    values.set(id, given[name]!);
    if (wanted.includes(name)) live.add(id);
  }
  const runs = steps.flatMap(({ op, id, of }) => {
    const read = Object.entries(op.inputs).map(([name, { shape, number }]) => {
      const value = values.get(of[name]!) ?? tf.fill([...shape], number!);
      return [name, shaped(value, shape)] as const;
    });
    const inputs = Object.fromEntries(read);
    const y = id === op ? undefined : (tf.engine().runKernel(op.kernel, inputs, op.attrs as tf.NamedAttrMap) as tf.Tensor);
    if (y) values.set(id, y);
    const names = Object.keys(of).filter((name) => live.has(of[name]!));
    if (names.length === 0) return [];
    live.add(id);
    return [{ op, id, of, inputs, names, y }];
  });
  const parts = new Map(wanted.map((name): [string, tf.Tensor[]] => [name, []]));
  const grads = new Map<object, tf.Tensor>([[steps.at(-1)!.id, dy]]);
  for (const { op, id, of, inputs, names, y } of runs.reverse()) {
    const own = grads.get(id)!;
    const dOut = y && !broadcasts.has(op.kernel) ? whole(own, y.shape) : own;
    for (const name of names) {
      const { gradient, derived = {} } = derivative(op.kernel, op.layer, name, inputs, op.attrs);
      const made = Object.fromEntries(Object.entries(derived).map(([as, make]) => [as, make(inputs, op.attrs)]));
      const dx = gradient([dOut], { ...inputs, ...(y && { y }), ...made });
      const [before, start] = [grads.get(of[name]!), starts.get(of[name]!)];
      if (start) parts.get(start)!.push(shaped(whole(dx, inputs[name]!.shape), given[start]!.shape));
      else grads.set(of[name]!, before ? tf.add(before, dx) : dx);
    }
    grads.delete(id);
    const read = new Set([dy, ...grads.values(), ...[...parts.values()].flat()]);
    tf.dispose([y, own, dOut].filter((t) => t && !read.has(t)) as tf.Tensor[]);
  }
  return [...parts.values()];
}

/** In another shape of the same size. */
export const shaped = (t: tf.Tensor, shape: readonly number[]): tf.Tensor =>
  tf.util.arraysEqual(t.shape, [...shape]) ? t : tf.reshape(t, [...shape]);

const whole = (gradient: tf.Tensor, shape: number[]): tf.Tensor =>
  tf.util.arraysEqual(gradient.shape, shape) ? gradient : tf.broadcastTo(gradient, shape);
