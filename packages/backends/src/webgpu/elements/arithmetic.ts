/** Arithmetic, comparisons and masks over float32. What tfjs computes on the CPU (small tensors that are there), it still does. */
import * as tf from '@tensorflow/tfjs-core';
import type { HalfType } from '../../half.ts';
import { input, type Kernels, onCpu, run, type Stock, viewAs, type WebGPUBackend, type WebGPUKernel, withTemporaries } from '../backend.ts';
import { halfStorage } from '../halves/half-storage.ts';
import { selectBits } from '../moves/move.ts';
import type { Uniform } from '../recording/dispatch.ts';
import { areElementwise, elementwise } from './elementwise.ts';

interface Op {
  readonly value: string;
  readonly dtype?: 'bool';
  /** Attributes that `value` reads as `u.name`. */
  readonly attrs?: readonly string[];
}

/** 1 above zero, `low` elsewhere, and NaN where x is. */
const step = (x: string, low: string): string => `select(select(${low}, T(1), ${x} > T()), ${x}, !(${x} > T()) & !(${x} <= T()))`;

const binary: { readonly [kernel: string]: Op } = {
  [tf.Add]: { value: 'a + b' },
  [tf.Sub]: { value: 'a - b' },
  [tf.Multiply]: { value: 'a * b' },
  [tf.RealDiv]: { value: 'a / b' },
  [tf.SquaredDifference]: { value: '(a - b) * (a - b)' },
  [tf.Greater]: { value: 'a > b', dtype: 'bool' },
  [tf.GreaterEqual]: { value: 'a >= b', dtype: 'bool' },
  [tf.Less]: { value: 'a < b', dtype: 'bool' },
  [tf.LessEqual]: { value: 'a <= b', dtype: 'bool' },
};

// select, not min and max: NaN must stay NaN
const unary: { readonly [kernel: string]: Op } = {
  [tf.Neg]: { value: '-x' },
  [tf.Square]: { value: 'x * x' },
  [tf.Relu]: { value: 'select(x, T(), x < T())' },
  [tf.Relu6]: { value: 'select(select(x, T(), x < T()), T(6), x > T(6))' },
  [tf.Step]: { value: step('x', 'T(u.alpha)'), attrs: ['alpha'] },
  [tf.ClipByValue]: {
    value: 'select(select(x, T(u.clipValueMin), x < T(u.clipValueMin)), T(u.clipValueMax), x > T(u.clipValueMax))',
    attrs: ['clipValueMin', 'clipValueMax'],
  },
};

/** Kernels of core's gradient rules. */
const gradients: { readonly [kernel: string]: Op } = {
  ReluGrad: { value: `dy * ${step('y', 'T()')}` },
  InRange: {
    value: '(x >= T(u.clipValueMin)) & (x <= T(u.clipValueMax))',
    dtype: 'bool',
    attrs: ['clipValueMin', 'clipValueMax'],
  },
  Relu6Mask: { value: '(x > T()) & (x <= T(6.0))', dtype: 'bool' },
  ClipByValueGrad: { value: 'select(T(), dy, mask)' },
};

const uniformsOf = ({ attrs: names = [] }: Op, attrs: { readonly [name: string]: unknown }) =>
  Object.fromEntries(names.map((name) => [name, ['f32', (attrs[name] as number | undefined) ?? 0] as Uniform]));

type Operands = { readonly [name: string]: tf.TensorInfo };
const shapeOf = (operands: Operands): number[] =>
  Object.values(operands).reduce<number[]>((shape, x) => tf.broadcast_util.assertAndGetBroadcastShape(shape, x.shape), []);

/** `x` repeated until it is of `shape`, which has as many axes or more. The caller owns it. */
const tile = (backend: WebGPUBackend, x: tf.TensorInfo, shape: readonly number[]): tf.TensorInfo => {
  const padded = [...shape.slice(x.shape.length).fill(1), ...x.shape];
  return run(backend, tf.Tile, { x: viewAs(x, padded) }, { reps: shape.map((size, axis) => size / padded[axis]!) });
};

/** Of which there is a kernel that rounds what it makes: `Half` before the name, see `../half.ts`. */
const roundable: readonly string[] = [tf.Add, tf.Sub, tf.Multiply, tf.RealDiv, tf.SquaredDifference];

/** Takes x, and gives it rounded to `half`; as it is where that is not asked. */
function nearest(x: tf.TensorInfo, half: HalfType | undefined, backend: WebGPUBackend): tf.TensorInfo {
  if (!half) return x;
  return withTemporaries(backend, (temporary) => halfStorage.RoundHalf({ x: temporary(x) }, { half, inPlace: true }, backend));
}

export const arithmetic = (stock: Stock): Kernels => {
  const beside =
    (kernel: string, op: Op): WebGPUKernel =>
    (inputs, { half, ...attrs }, backend) => {
      const operands = inputs as Operands;
      const [all, shape] = [Object.values(operands), shapeOf(operands)];
      const fits = all.every((x) => x.dtype === 'float32') && areElementwise(all, shape);
      if (!fits || onCpu(backend, all)) return nearest(stock(kernel)(inputs, attrs, backend) as tf.TensorInfo, half, backend);
      return elementwise(backend, { key: kernel, inputs: operands, shape, ...op, uniforms: uniformsOf(op, attrs), half });
    };
  const alone =
    (key: string, op: Op): WebGPUKernel =>
    (inputs, attrs, backend) => {
      const operands = inputs as Operands;
      const shape = shapeOf(operands);
      return withTemporaries(backend, (temporary) => {
        const whole = Object.entries(operands).map(([name, x]) => [
          name,
          areElementwise([x], shape) ? x : temporary(tile(backend, x, shape)),
        ]);
        return elementwise(backend, { key, inputs: Object.fromEntries(whole), shape, ...op, uniforms: uniformsOf(op, attrs) });
      });
    };
  const select: WebGPUKernel = (inputs, attrs, backend) => {
    const [condition, t, e] = ['condition', 't', 'e'].map((name) => input(inputs, name)) as [tf.TensorInfo, tf.TensorInfo, tf.TensorInfo];
    const mask = viewAs(condition, [...condition.shape, ...t.shape.slice(condition.shape.length).fill(1)]); // one of rank 1 chooses rows
    const floats = t.dtype === 'float32' && e.dtype === 'float32';
    const whole = t.dtype === 'int32' && e.dtype === 'int32' && !onCpu(backend, [condition, t, e]) && !t.shape.includes(0);
    if (whole) return selectBits(backend, condition, t, e);
    if (!floats || !areElementwise([mask, t, e], t.shape)) return stock(tf.Select)(inputs, attrs, backend);
    return elementwise(backend, { key: tf.Select, inputs: { condition: mask, t, e }, shape: t.shape, value: 'select(e, t, condition)' });
  };
  const family = (ops: { readonly [kernel: string]: Op }, make: (kernel: string, op: Op) => WebGPUKernel): Kernels =>
    Object.fromEntries(Object.entries(ops).map(([kernel, op]) => [kernel, make(kernel, op)]));
  const inHalf = Object.fromEntries(roundable.map((kernel) => [`Half${kernel}`, beside(kernel, binary[kernel]!)]));
  return { ...inHalf, ...family(binary, beside), ...family(unary, beside), ...family(gradients, alone), [tf.Select]: select };
};
