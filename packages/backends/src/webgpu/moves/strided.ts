/**
 * Values of four bytes moved as they are, along any number of axes: tfjs's kernels send int32 through float32, which has 24 bits. Four at a time
 * where they lie together.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGPUBackend } from '../backend.ts';
import { dispatch, type Output, type Uniform } from '../recording/dispatch.ts';
import { entry, groupsFor } from '../recording/entry.ts';

/** What lies along an axis: so many values, so far apart in the buffer; `wrap`: after so many it begins again. */
export interface Axis {
  readonly size: number;
  readonly stride: number;
  readonly wrap?: number;
}

/** The axes of a tensor that lies row by row. */
export const axesOf = (shape: readonly number[]): Axis[] => {
  const strides = [...tf.util.computeStrides([...shape]), 1];
  return shape.map((size, i) => ({ size, stride: strides[i]! }));
};

/** y[i, j, …] = x[offset + i · stride₀ + j · stride₁ + …]. The caller owns the result. */
export const readAlong = (backend: WebGPUBackend, x: tf.TensorInfo, axes: readonly Axis[], offset = 0): tf.TensorInfo =>
  move(backend, x, axes, offset, { shape: axes.map(({ size }) => size), dtype: x.dtype }, 'y[i] = x[at];');

/** y[offset + i · stride₀ + j · stride₁ + …] = x[i, j, …], of a tensor to make or in place. */
export const writeAlong = (backend: WebGPUBackend, x: tf.TensorInfo, axes: readonly Axis[], offset: number, y: Output[0]): tf.TensorInfo =>
  move(backend, x, axes, offset, y, 'y[at] = x[i];');

/** Whether every run of four along the last axis lies together, and at a multiple of four. */
function inFours(axes: readonly Axis[], offset: number): boolean {
  const last = axes.at(-1);
  const fours = (n: number): boolean => n % 4 === 0;
  if (last?.stride !== 1 || !fours(last.size) || !fours(last.wrap ?? 0) || !fours(offset)) return false;
  return axes.slice(0, -1).every(({ stride }) => fours(stride));
}

function move(
  backend: WebGPUBackend,
  x: tf.TensorInfo,
  all: readonly Axis[],
  first: number,
  y: Output[0],
  statement: string,
): tf.TensorInfo {
  const width = inFours(all, first) ? 4 : 1;
  const type = width === 4 ? 'vec4u' : 'u32';
  const offset = first / width;
  const axes = all.map(({ size, stride, wrap }, i) =>
    i < all.length - 1
      ? { size, stride: stride / width, wrap }
      : { size: size / width, stride, wrap: wrap === undefined ? wrap : wrap / width },
  );
  const size = axes.reduce((n, axis) => n * axis.size, 1);
  const numbers = axes.flatMap(({ size: length, stride, wrap }, i): [string, Uniform][] => [
    [`size${i}`, ['u32', length]],
    [`stride${i}`, ['u32', stride]],
    ...(wrap === undefined ? [] : [[`wrap${i}`, ['u32', wrap]] as [string, Uniform]]),
  ]);
  const step = (i: number): string => {
    const place = `rest % u.size${i}`;
    return `at += (${axes[i]!.wrap === undefined ? place : `(${place}) % u.wrap${i}`}) * u.stride${i}; rest /= u.size${i};`;
  };
  return dispatch(backend, {
    key: `move ${statement}`,
    inputs: { x: [x, type] },
    outputs: { y: [y, type] },
    uniforms: { threads: ['u32', size], offset: ['u32', offset], ...Object.fromEntries(numbers) },
    workgroups: groupsFor(size),
    code: () => `${entry}
  var rest = i; var at = u.offset;
  ${axes.map((_, back) => step(axes.length - 1 - back)).join('\n  ')}
  ${statement}
}`,
  }).y;
}
