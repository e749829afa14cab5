/** Runs one kernel on two backends on the same seeded inputs, and checks on the way that it leaves nothing behind. */
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import { useBackend } from '../src/index.ts';

export interface Values {
  readonly shape: number[];
  readonly data: number[];
  readonly dtype?: 'float32' | 'int32' | 'bool';
}
export interface Outcome {
  readonly shape: number[];
  readonly dtype: string;
  readonly data: ArrayLike<number>;
}

export async function prepare(): Promise<void> {
  await useBackend('wasm');
}

/** Normal enough, both signs, the same on every machine. */
export function random(shape: number[], seed = 1): Values {
  let state = seed * 2654435761;
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  return { shape, data: Array.from({ length: tf.util.sizeFromShape(shape) }, () => next() + next() + next() - 1.5) };
}

/** Small whole numbers: windows with ties, and products exact in any order. */
export function whole(shape: number[], seed = 1, dtype: 'float32' | 'int32' = 'float32'): Values {
  return { shape, dtype, data: random(shape, seed).data.map((value) => Math.round(value * 2)) };
}

export async function runOn(backend: string, kernel: string, inputs: { [name: string]: Values }, attrs: object): Promise<Outcome> {
  await tf.setBackend(backend);
  return tf.tidy(() => {
    const tensors = Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, tf.tensor(x.data, x.shape, x.dtype ?? 'float32')]));
    const before = tf.backend().numDataIds();
    const given = kernel === 'Einsum' ? (Object.values(tensors) as unknown as tf.NamedTensorMap) : tensors; // tfjs passes its operands as a list
    const y: tf.Tensor = tf.engine().runKernel(kernel, given, attrs as tf.NamedAttrMap);
    const shared = Object.values(tensors).some((x) => x.dataId === y.dataId);
    expect(tf.backend().numDataIds(), `data ids after ${kernel} on ${backend}`).toBe(before + (shared ? 0 : 1));
    return { shape: y.shape, dtype: y.dtype, data: y.dataSync() };
  });
}

/** Largest difference, relative to the largest value. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let [difference, size] = [0, 1e-30];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    expect(Number.isFinite(x), `element ${i} is ${x}`).toBe(true);
    difference = Math.max(difference, Math.abs(x - y));
    size = Math.max(size, Math.abs(y));
  }
  return difference / size;
}

/** wasm gives to the bit what cpu gives for an `x` of this shape, whatever its type. */
export async function expectSameForAllTypes(kernel: string, shape: number[], attrs: object): Promise<void> {
  await expectLikeCpu(kernel, { x: random(shape) }, attrs, 0);
  await expectLikeCpu(kernel, { x: whole(shape, 1, 'int32') }, attrs, 0);
  await expectLikeCpu(kernel, { x: { shape, dtype: 'bool', data: whole(shape).data.map((v) => Number(v > 0)) } }, attrs, 0);
}

/** wasm gives what cpu gives; float32 sums in another order differ by rounding. */
export async function expectLikeCpu(kernel: string, inputs: { [name: string]: Values }, attrs: object, tolerance = 2e-6): Promise<void> {
  const cpu = await runOn('cpu', kernel, inputs, attrs);
  const wasm = await runOn('wasm', kernel, inputs, attrs);
  expect(wasm.shape).toEqual(cpu.shape);
  expect(wasm.dtype).toBe(cpu.dtype);
  expect(distance(wasm.data, cpu.data)).toBeLessThanOrEqual(tolerance);
}
