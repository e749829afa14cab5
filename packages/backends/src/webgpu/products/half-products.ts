/**
 * Products in half precision as one kernel: `Half` before a kernel's name is y = round(f(round(x), ...)), summed in float32. The attribute
 * `halves` names the inputs that a half holds already; the others are rounded as the product reads them, without a copy. What it is in
 * common with the other backends: `../half.ts`.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { type Attrs, type Kernels, type Stock, type WebGPUBackend, type WebGPUKernel, withTemporaries } from '../backend.ts';
import { halfStorage } from '../halves/half-storage.ts';
import { halfUnits } from '../halves/half-units.ts';
import { type How, prefersTiles } from './plan.ts';

/** A kernel, or undefined where tfjs's must do. */
export type Body = (inputs: tf.NamedTensorInfoMap, attrs: Attrs, backend: WebGPUBackend, how: How) => tf.TensorInfo | undefined;

interface Product {
  /** The inputs that are multiplied, as `a` and `b` of its plan. */
  readonly operands: readonly [a: string, b: string];
  readonly body: Body;
}

/** Each kernel, ours where its body takes the inputs and tfjs's else, and in half precision. */
export const alsoInHalf = (stock: Stock, products: { readonly [kernel: string]: Product }): Kernels =>
  Object.fromEntries(
    Object.entries(products).flatMap(([kernel, product]): [string, WebGPUKernel][] => [
      [kernel, (inputs, attrs, backend) => product.body(inputs, attrs, backend, {}) ?? stock(kernel)(inputs, attrs, backend)],
      [`Half${kernel}`, inHalf(product, stock(kernel))],
    ]),
  );

const inHalf =
  ({ operands: [a, b], body }: Product, stock: WebGPUKernel): WebGPUKernel =>
  (inputs, { half, halves, ...attrs }, backend) =>
    withTemporaries(backend, (temporary) => {
      const rough = (name: string): boolean => inputs[name]?.dtype === 'float32' && !halves.includes(name);
      const rounded = (names: readonly string[]): tf.NamedTensorInfoMap => ({
        ...inputs,
        ...Object.fromEntries(
          names.filter(rough).map((name) => [name, temporary(halfStorage.RoundHalf({ x: inputs[name]! }, { half }, backend))]),
        ),
      });
      // Where each thread reads for itself, an operand is read, and would be rounded, many times.
      const onRead = prefersTiles(backend);
      const rounding = { half, a: onRead && rough(a), b: onRead && rough(b), c: true };
      const units = half === 'float16' ? halfUnits(backend) : undefined;
      const y = body(rounded(onRead ? [] : [a, b]), attrs, backend, { half: units, rounding });
      if (y) return y;
      const plain = temporary(stock(rounded(Object.keys(inputs)), attrs, backend) as tf.TensorInfo);
      return halfStorage.RoundHalf({ x: plain }, { half, inPlace: true }, backend);
    });
