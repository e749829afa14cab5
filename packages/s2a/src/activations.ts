/**
 * Elementwise functions, each with a step function for its derivative (`steps.ts`): exact in one bit where the derivative is a step
 * itself, in 4 bits elsewhere. Forward is exact.
 *
 *   kept: ceil(n · bits / 32) words        dx = levels[code] · dy
 */
import type { GradientRule, Kept, KernelRun } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Activation, derivatives } from './derivatives.ts';
import { type Precision, run } from './kernels.ts';
import { exactSteps, fitSteps, type Reading, type Steps } from './steps.ts';

const fitted = new Map<string, Steps>();

/** The table of a function, made when it is first used; of at most 8 bits, within 0.6 %. */
export function stepsOf(name: Activation, wanted: number, reading: Reading): Steps {
  const bits = Math.min(8, wanted);
  const key = `${name} ${bits} ${reading}`;
  const steps = fitted.get(key) ?? fitSteps(derivatives[name], bits, reading);
  fitted.set(key, steps);
  return steps;
}

/** Waits as codes for a step function of x. */
export function packSteps(x: tf.Tensor, { borders, codes, bits }: Steps): Kept {
  const packed = tf.keep(run('EncodeSteps', { x }, { borders, codes, bits }));
  return { bytes: packed.size * 4, decode: () => packed, dispose: () => packed.dispose() };
}

/** levels[code] · dy */
export const timesSteps = (codes: tf.Tensor, dy: tf.Tensor, { levels, bits }: Steps): tf.Tensor =>
  run('DecodeSteps', { codes, dy }, { levels, bits, shape: dy.shape });

/** Keeps codes of x, by the table that `steps` names for a run. */
export function stepRule(steps: (run: Pick<KernelRun, 'kernel' | 'attrs'> & Partial<KernelRun>) => Steps): GradientRule {
  const chosen = new WeakMap<tf.Tensor, Steps>();
  return {
    keep(given) {
      const { x } = given.inputs;
      return {
        codes: () => {
          const table = steps(given);
          const kept = packSteps(x!, table);
          chosen.set(kept.decode(), table);
          return kept;
        },
      };
    },
    backward: ([dy], { codes }) => ({ x: timesSteps(codes!, dy!, chosen.get(codes!)!) }),
  };
}

/** The largest float32 below a value: borders belong to the interval below, and a clip's lowest value passes its gradient. */
function below(value: number): number {
  const float = Float32Array.of(value);
  const bits = new Int32Array(float.buffer);
  if (float[0] === 0) return -1.401298464324817e-45;
  bits[0]! += float[0]! > 0 ? -1 : 1;
  return float[0]!;
}

const smooth: { readonly [kernel: string]: Activation } = {
  Elu: 'elu',
  Selu: 'selu',
  Sigmoid: 'sigmoid',
  Softplus: 'softplus',
  Tanh: 'tanh',
};

export function activationRules(precision: Precision, reading: Reading): { readonly [kernel: string]: GradientRule } {
  return {
    Relu: stepRule(() => exactSteps([0], [0, 1])),
    Relu6: stepRule(() => exactSteps([0, 6], [0, 1, 0])),
    LeakyRelu: stepRule(({ attrs }) => exactSteps([0], [attrs['alpha'] as number, 1])),
    ClipByValue: stepRule(({ attrs }) => exactSteps([below(attrs['clipValueMin'] as number), attrs['clipValueMax'] as number], [0, 1, 0])),
    Maximum: bounded((bound) => exactSteps([below(bound)], [0, 1])),
    Minimum: bounded((bound) => exactSteps([bound], [1, 0])),
    ...Object.fromEntries(Object.entries(smooth).map(([kernel, name]) => [kernel, smoothRule(kernel, name, precision, reading)])),
  };
}

function smoothRule(kernel: string, name: Activation, precision: Precision, reading: Reading): GradientRule {
  const bitsAt = ({ inputs, layer = '' }: KernelRun) => precision({ kernel, layer, elements: inputs['x']!.size, kind: 'activation' });
  const { inputsToSave = [], gradFunc } = tf.getGradient(kernel);
  const chosen = new Map<number, GradientRule>();
  const ruleOf = (bits: number) => chosen.get(bits) ?? stepRule(() => stepsOf(name, bits, reading));
  return {
    keep(run) {
      const bits = bitsAt(run);
      if (bits === 32) return { exact: inputsToSave.length > 0 ? run.inputs['x']! : run.outputs[0]! };
      chosen.set(bits, ruleOf(bits));
      return Object.fromEntries(Object.entries(ruleOf(bits).keep(run)).map(([, kept]) => [`${bits}`, kept]));
    },
    backward([dy], kept, run) {
      if (kept['exact']) return { x: gradFunc(dy!, [kept['exact']], {})['x']!() };
      const [[bits, codes]] = Object.entries(kept) as [[string, tf.Tensor]];
      return ruleOf(Number(bits)).backward([dy], { codes }, run);
    },
  };
}

/** min and max: one bit where one side is a constant number (relu6 of tfjs-layers), a byte as in core where both are tensors. */
function bounded(steps: (bound: number) => Steps): GradientRule {
  const chosen = new WeakMap<tf.Tensor, Steps>();
  return {
    keep({ kernel, inputs, wanted }) {
      const { a, b } = inputs as { a: tf.Tensor; b: tf.Tensor };
      const other = wanted.length > 1 ? undefined : wanted[0] === 'a' ? b : a;
      if (other?.size === 1) {
        return {
          codes: () => {
            const table = steps(other.dataSync()[0]!);
            const kept = packSteps(other === a ? b : a, table);
            chosen.set(kept.decode(), table);
            return kept;
          },
        };
      }
      return {
        mask: () => {
          const mask = tf.keep(kernel === 'Maximum' ? tf.greaterEqual(a, b) : tf.lessEqual(a, b));
          return { bytes: mask.size, decode: () => mask, dispose: () => mask.dispose() };
        },
      };
    },
    backward([dy], { codes, mask }, { inputs, wanted }) {
      if (codes) return { [wanted[0]!]: timesSteps(codes, dy!, chosen.get(codes)!) };
      const part = { a: () => mask!, b: () => tf.logicalNot(mask!) };
      const gradient = (name: 'a' | 'b') => sumTo(tf.mul(dy!, tf.cast(part[name](), 'float32')), inputs[name]!.shape as number[]);
      return Object.fromEntries(wanted.map((name) => [name, gradient(name as 'a' | 'b')]));
    },
  };
}

/** Sums over the axes along which `shape` was broadcast. */
export function sumTo(x: tf.Tensor, shape: number[]): tf.Tensor {
  const axes = tf.broadcast_util.getReductionAxes(shape, x.shape);
  return tf.reshape(axes.length > 0 ? tf.sum(x, axes) : x, shape);
}
