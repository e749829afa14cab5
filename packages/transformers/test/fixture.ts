/** Reads the fixtures that PyTorch wrote. */
import { createReadStream } from 'node:fs';
import { join } from 'node:path';
import { floatsOf, readSafetensors } from '@leantune/core/safetensors';
import * as tf from '@tensorflow/tfjs';

export const fixtures: string = join(import.meta.dirname, 'fixtures');

export interface Expected {
  readonly shape: number[];
  readonly values: Float32Array | Int32Array;
}

export async function readExpected(name: string): Promise<ReadonlyMap<string, Expected>> {
  const found = new Map<string, Expected>();
  for await (const tensor of readSafetensors(createReadStream(join(fixtures, name, 'expected.safetensors')))) {
    const values = tensor.dtype === 'I32' ? new Int32Array(tensor.bytes.slice().buffer) : floatsOf(tensor);
    found.set(tensor.name, { shape: [...tensor.shape], values });
  }
  return found;
}

export const tensorOf = ({ shape, values }: Expected): tf.Tensor =>
  tf.tensor(values, shape, values instanceof Int32Array ? 'int32' : 'float32');

/** The largest difference, relative to the largest value, or to `floor` if that is larger. */
export function farthest(got: ArrayLike<number>, expected: ArrayLike<number>, floor = 1e-6): number {
  if (got.length !== expected.length) return Number.POSITIVE_INFINITY;
  let [difference, size] = [0, 0];
  for (let i = 0; i < got.length; i++) {
    difference = Math.max(difference, Math.abs(got[i]! - expected[i]!));
    size = Math.max(size, Math.abs(expected[i]!));
  }
  return Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference / Math.max(size, floor);
}
