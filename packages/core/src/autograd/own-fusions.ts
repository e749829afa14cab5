/**
 * Norms and activations that are spelled in several ops are differentiated as the one op that they are: x waits, and nothing of what
 * lies between. Forward has run by then, as it was written. The gradient is one kernel where the backend has it, and agrees up to
 * rounding; elsewhere the ops run once more (`replay.ts`).
 *
 *   layer norm, RMS norm            over the last axis, with a weight and a bias of its length where they follow
 *   GELU, SiLU, Mish, hard swish    of x alone
 */
import * as tf from '@tensorflow/tfjs-core';
import { findActivation } from '../patterns/activation.ts';
import { findNorm, type NormPattern } from '../patterns/norm.ts';
import { either } from '../patterns/trail.ts';
import type { Fused, Fusion, GradientRule, TapeOp, TapeValue } from '../technique.ts';
import { fused } from './fused.ts';
import type { Tensors } from './recorder.ts';
import { replayOf, shaped } from './replay.ts';

/** By how much of themselves the numbers in an activation may be off: the rounding of float32, a few times. */
const WITHIN = 1e-6;

type Inputs = { readonly [name: string]: TapeValue };
/** Gradients of `wanted`, in parts, from what was kept and dy, of x's shape both; `ops` gives them without a kernel. */
type Kernel = (values: Tensors, wanted: string[], ops: () => tf.Tensor[][]) => readonly (tf.Tensor | tf.Tensor[])[];

/** The pattern from `inputs` to `last`. @param times what x must be multiplied by, of what waits for it */
function whole(last: TapeOp, found: Pick<Fused, 'kernel' | 'through'>, inputs: Inputs, gradient: Kernel, times = 1): Fused | undefined {
  const replay = replayOf(last, inputs);
  if (!replay) return undefined;
  const rule: GradientRule = {
    keep: ({ inputs: { bias, ...read } }) => read, // no gradient reads what is only added
    backward([dy], kept, { wanted }) {
      const values = Object.fromEntries(
        Object.entries(inputs).map(([name, { shape }]) => [name, kept[name] ? shaped(kept[name], shape) : tf.zeros([...shape])]),
      );
      if (times !== 1) values['x'] = tf.mul(values['x']!, times);
      const ops = () => replay(values, dy!, wanted);
      const gradients = gradient({ ...values, dy: shaped(dy!, inputs['x']!.shape) }, [...wanted], ops);
      return Object.fromEntries(wanted.map((name, i) => [name, [gradients[i]!].flat().map((part) => shaped(part, inputs[name]!.shape))]));
    },
  };
  return { ...found, inputs, rule };
}

function activation(last: TapeOp): Fused | undefined {
  const found = findActivation(last, WITHIN);
  if (!found) return undefined;
  const { name, x, spare, kernel, through } = found;
  // What an executor of graphs has disposed may wait for a part of the pattern, multiplied by k.
  const [k, source] = spare && !x.read() ? spare : [1, x];
  const approximate = name === 'geluTanh';
  const gradient: Kernel = ({ x, dy }, _, ops) =>
    kernel === 'Gelu' ? [fused('FusedGeluGrad', { x, dy }, { approximate }, () => ops()[0]!)] : ops();
  return whole(last, { kernel, through }, { x: { ...x, read: source.read } }, gradient, 1 / k);
}

/** By their last run: a weight and a bias may follow. */
const norms = new WeakMap<TapeOp, NormPattern>();

function norm(last: TapeOp): Fused | undefined {
  const found = findNorm(last) ?? extended(last);
  if (!found || !fits(found)) return undefined;
  const { x, means, scale, offset, epsilon, through } = found;
  norms.set(last, found);
  const inputs = { x, ...(scale && { weight: scale }), ...(offset && { bias: offset }) };
  const kernel = means ? 'LayerNorm' : 'RmsNorm';
  const gradient: Kernel = ({ x, weight, dy }, wanted, ops) => {
    const columns = [x!.shape.at(-1)!];
    const values = { x, weight: weight ? shaped(weight, columns) : tf.ones(columns), dy };
    return fused<(tf.Tensor | tf.Tensor[])[]>(`Fused${kernel}Grad`, values, { epsilon, wanted }, ops);
  };
  return whole(last, { kernel, through }, inputs, gradient);
}

/** z · γ, and z · γ + β */
function extended({ kernel, inputs }: TapeOp): NormPattern | undefined {
  if (kernel !== 'Multiply' && kernel !== 'Add') return undefined;
  for (const [p, q] of either([inputs['a']!, inputs['b']!])) {
    const before = p.from && norms.get(p.from);
    if (!before || before.offset || !isVector(q, before.x)) continue;
    const through = [...before.through, p.from];
    if (kernel === 'Multiply') return before.scale ? undefined : { ...before, scale: q, through };
    return before.means ? { ...before, offset: q, through } : undefined;
  }
  return undefined;
}

/** Whether a value has one number for each column of x. */
const isVector = ({ shape }: TapeValue, x: TapeValue): boolean =>
  shape.length <= x.shape.length && shape.at(-1) === x.shape.at(-1) && shape.every((n, axis) => n === 1 || axis === shape.length - 1);

const fits = ({ x, scale, offset }: NormPattern): boolean =>
  !x.shape.includes(0) && [scale, offset].every((value) => !value || isVector(value, x));

/** Asked after those of techniques. */
export const ownFusions: readonly Fusion[] = [norm, activation];
