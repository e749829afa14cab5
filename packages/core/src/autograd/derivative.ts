/** Finds how one input of a kernel is differentiated. */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { reads } from './reads.ts';
import { type Attrs, type InputGradient, rules, stockGradient, type Values } from './rules.ts';

/** `y`, and `y1`, `y2` … of kernels with several outputs. */
export const outputName = (i: number): string => (i === 0 ? 'y' : `y${i}`);

/** As techniques see it. */
export const roleOf = (name: string): string => (/^y\d*$/.test(name) ? `outputs.${Number(name.slice(1))}` : `inputs.${name}`);

export interface Derivative {
  readonly reads: readonly string[];
  readonly gradient: (dys: tf.Tensor[], v: Values) => tf.Tensor;
  readonly derived?: InputGradient[2];
}

/** The gradient of one input of `kernel`, from our own rules or from tfjs. `at` is the layer, for errors. */
export function derivative(kernel: string, at: string, input: string, inputs: Values, attrs: Attrs): Derivative {
  const own = rules[kernel];
  const rule = typeof own === 'function' ? own(input, inputs, attrs) : own?.[input];
  if (rule) return { reads: rule[0], gradient: ([dy], v) => rule[1](dy!, v, attrs), derived: rule[2] };
  const config = tf.getGradient(kernel);
  if (!config) return { reads: [], gradient: () => missing(kernel, at) };
  const saved = config.saveAllInputs
    ? Object.keys(inputs)
    : [...(config.inputsToSave ?? []), ...(config.outputsToSave ?? []).flatMap((save, i) => (save ? [outputName(i)] : []))];
  return {
    reads: reads[kernel] ? (reads[kernel][input] ?? []) : saved,
    gradient: (dys, v) =>
      stockGradient(
        kernel,
        input,
        dys.length > 1 ? dys : dys[0]!,
        saved.map((name) => v[name]!),
        attrs,
      ),
  };
}

function missing(kernel: string, at: string): never {
  const where = at && ` in layer "${at}"`;
  const advice = "Train only what lies behind it, or give the kernel a rule with a technique's `gradients`.";
  throw new FinetuneError('no-gradient', 'tape', `Cannot compute gradient: gradient function not found for ${kernel}${where}. ${advice}`);
}
