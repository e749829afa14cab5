/**
 * Computes kernels in half precision, by the lists.
 *
 *   half:    y = round(Σ round(a) · round(b)), summed in float32        follow: y = round(f(…)) where what flows in is half
 *
 * tfjs has no half tensor: values that a half can hold are float32 tensors, and this remembers whose buffers they are in. So a chain of
 * such kernels rounds each value once. Where the backend has a kernel of its own for that (`HalfConv2D`), it rounds what it reads and makes.
 */
import type { ComputeRule, KernelCall } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type HalfType, rounded, roundedInPlace } from './kernels.ts';
import type { Precision } from './lists.ts';

type Run = Parameters<ComputeRule>[1];

export class Autocast {
  readonly #half: HalfType;
  readonly #precisions: ReadonlyMap<string, Precision>;
  /** Layers of which only products, and their biases, are in half: those whose outputs a loss reads, and the loss. */
  readonly #precise: (layer: string) => boolean;
  /** Buffers of values that a half can hold. */
  readonly #halves = new WeakSet<object>();

  constructor(half: HalfType, precisions: ReadonlyMap<string, Precision>, precise: (layer: string) => boolean) {
    this.#half = half;
    this.#precisions = precisions;
    this.#precise = precise;
  }

  isHalf = (x: tf.Tensor): boolean => this.#halves.has(x.dataId);

  /** Notes that a half can hold these values. */
  mark = (x: tf.Tensor): void => void this.#halves.add(x.dataId);

  readonly compute: ComputeRule = (call, run) => {
    const precision = this.#precisionOf(call);
    if (precision === 'half') return this.#inHalf(call, run) ?? this.#product(call, run);
    const y = (precision === 'follow' && this.#inHalf(call, run)) || run(call);
    if (precision === 'float32' || !(y instanceof tf.Tensor) || y.dtype !== 'float32') return y;
    if (precision === 'follow' && !this.isHalf(y)) return this.#round(y);
    this.mark(y);
    return y;
  };

  /** By the backend's own kernel for halves, where it has one. */
  #inHalf({ kernel, inputs, attrs }: KernelCall, run: Run): tf.Tensor | undefined {
    const name = `Half${kernel}`;
    const floats = Object.values(inputs).every((x) => !(x instanceof tf.Tensor) || x.dtype === 'float32');
    if (!floats || !tf.getKernel(name, tf.getBackend())) return undefined;
    const halves = Object.keys(inputs).filter((input) => inputs[input] && this.isHalf(inputs[input]));
    const y = run({ kernel: name, inputs, attrs: { ...attrs, half: this.#half, halves } }) as tf.Tensor;
    this.mark(y);
    return y;
  }

  #precisionOf(call: KernelCall): Precision {
    const precision = this.#precisions.get(call.kernel) ?? 'float32';
    if (precision === 'float32' || precision === 'half') return precision;
    if (precision === 'follow' && call.layer !== undefined && this.#precise(call.layer) && call.kernel !== 'Add') return 'float32';
    // A number is a loss or a statistic.
    const floats = operandsOf(call).filter((x) => x.dtype === 'float32');
    const flows = floats.some((x) => x.size > 1 && this.isHalf(x)) && floats.every((x) => this.isHalf(x) || isSmall(x, floats));
    return flows ? precision : 'float32';
  }

  #product(call: KernelCall, run: Run): tf.Tensor | tf.Tensor[] {
    const made: tf.Tensor[] = [];
    const inputs = mapOperands(call, (x) => {
      if (x.dtype !== 'float32' || this.isHalf(x)) return x;
      const near = rounded(x, this.#half);
      made.push(near);
      return near;
    });
    try {
      const y = run({ ...call, inputs });
      return y instanceof tf.Tensor && y.dtype === 'float32' ? this.#round(y) : y;
    } finally {
      tf.dispose(made);
    }
  }

  #round(y: tf.Tensor): tf.Tensor {
    const near = roundedInPlace(y, this.#half);
    this.mark(near);
    return near;
  }
}

/** Operands by name; Einsum and AddN have a list. */
const operandsOf = ({ inputs }: KernelCall): tf.Tensor[] => Object.values(inputs).filter((x) => x instanceof tf.Tensor);

function mapOperands({ inputs }: KernelCall, f: (x: tf.Tensor) => tf.Tensor): KernelCall['inputs'] {
  const map = (x: tf.Tensor) => (x instanceof tf.Tensor ? f(x) : x);
  if (Array.isArray(inputs)) return inputs.map(map) as unknown as KernelCall['inputs'];
  return Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, map(x)]));
}

/** A number, or one a channel, beside larger operands: a bias, a scale, a statistic that a fused norm reads. These stay float32. */
function isSmall(x: tf.Tensor, operands: readonly tf.Tensor[]): boolean {
  const largest = operands.reduce((a, b) => (b.size > a.size ? b : a));
  return x.size === 1 || (x.size < largest.size && x.size === largest.shape.at(-1) && x.shape.at(-1) === x.size);
}
