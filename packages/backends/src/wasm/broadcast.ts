/**
 * Broadcasting without finding each element's place: the output is cut into stretches over which one operand lies in one
 * piece and the other does too, or is one number. A native loop takes each stretch.
 */
import * as tf from '@tensorflow/tfjs-core';
import { offset, type WasmBackend } from './backend.ts';
import type { Native } from './native.ts';

/** For each index into the axes `outDims`, taken as one, the index into `dims`, which broadcasts to them. */
export function broadcastIndex(outDims: readonly number[], dims: readonly number[]): (index: number) => number {
  const strides = tf.util.computeStrides([...dims, 1]);
  const lead = outDims.length - dims.length;
  return (rest) => {
    let index = 0;
    for (let axis = outDims.length - 1; axis >= lead; axis--) {
      const size = outDims[axis] as number;
      if (dims[axis - lead] !== 1) index += (rest % size) * (strides[axis - lead] as number);
      rest = Math.floor(rest / size);
    }
    return index;
  };
}

/** `count` stretches of `n` elements; where the i-th begins in either operand. `step` is 0 where b is one number, else 1. */
interface Stretches {
  readonly count: number;
  readonly n: number;
  readonly step: number;
  a(i: number): number;
  b(i: number): number;
}

/** Shorter stretches cost more than they save. */
const SHORTEST = 8;

/** Undefined where `a` broadcasts over the last axis, or the stretches are short. */
function stretches(out: readonly number[], a: readonly number[], b: readonly number[]): Stretches | undefined {
  const [wideA, wideB] = [a, b].map((shape) => [...out.slice(shape.length).fill(1), ...shape].filter((_, axis) => out[axis] !== 1)) as [
    number[],
    number[],
  ];
  const wide = out.filter((size) => size !== 1);
  const step = wideB.at(-1) === wide.at(-1) ? 1 : 0;
  let axis = wide.length;
  while (axis > 0 && wideA[axis - 1] === wide[axis - 1] && wideB[axis - 1] === (step ? wide[axis - 1] : 1)) axis--;
  const n = tf.util.sizeFromShape(wide.slice(axis));
  if (axis > 0 && n < SHORTEST) return undefined;
  const outer = wide.slice(0, axis);
  const [ia, ib] = [broadcastIndex(outer, wideA.slice(0, axis)), broadcastIndex(outer, wideB.slice(0, axis))];
  return { count: tf.util.sizeFromShape(outer), n, step, a: (i) => ia(i) * n, b: (i) => ib(i) * (step ? n : 1) };
}

/** kernel(a, b) by stretches, `mirror` being the kernel with its operands swapped; undefined where tfjs is to do it. Both are float32. */
export function byStretches(
  backend: WasmBackend,
  kernel: Native['maximum'],
  mirror: Native['maximum'],
  a: tf.TensorInfo,
  b: tf.TensorInfo,
  dtype: 'float32' | 'bool',
): tf.TensorInfo | undefined {
  const shape = tf.backend_util.assertAndGetBroadcastShape(a.shape, b.shape);
  const straight = stretches(shape, a.shape, b.shape);
  const parts = straight ?? stretches(shape, b.shape, a.shape);
  if (!parts) return undefined;
  const out = backend.makeOutput(shape, dtype);
  const [run, left, right] = straight ? [kernel, a, b] : [mirror, b, a];
  const [from, to, into] = [offset(backend, left), offset(backend, right), offset(backend, out)];
  const size = tf.util.bytesPerElement(dtype);
  for (let i = 0; i < parts.count; i++) run(from + parts.a(i) * 4, to + parts.b(i) * 4, into + i * parts.n * size, parts.n, parts.step);
  return out;
}
