/** What core's gradient rules get from fused kernels of a backend, beside what they get from ops on cpu. */
import type { BackendName } from '@leantune/backends';
import { valueAndGrads } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { expect } from 'vitest';
import { distance, random } from './compare.ts';

export const variable = (shape: number[], seed: number): tf.Variable =>
  tf.tidy(() => tf.variable(tf.tensor(random(shape, seed).data, shape)));
export const read = (tensors: readonly tf.Tensor[]): Promise<number[][]> =>
  Promise.all(tensors.map(async (t) => Array.from(await t.data())));

type Make = () => tf.Variable[];
type Loss = (variables: tf.Variable[]) => tf.Scalar;

/** Names of the kernels that ran during `f`, and its result. */
async function namesOf<T>(f: () => Promise<T>): Promise<{ result: T; names: string[] }> {
  const names: string[] = [];
  const { runKernel } = tf.engine();
  tf.engine().runKernel = ((name: string, ...rest: [tf.NamedTensorMap]) => {
    names.push(name);
    return runKernel.call(tf.engine(), name, ...rest);
  }) as never;
  try {
    return { result: await f(), names };
  } finally {
    tf.engine().runKernel = runKernel;
  }
}

async function gradientsOf(backend: BackendName, make: Make, loss: Loss): Promise<number[][]> {
  await tf.setBackend(backend);
  const variables = make();
  const before = tf.memory().numTensors;
  const { value, grads } = valueAndGrads(() => loss(variables), variables);
  const out = await read([value, ...variables.map(({ name }) => grads[name]!)]);
  tf.dispose([value, grads]);
  expect(tf.memory().numTensors).toBe(before);
  tf.dispose(variables);
  return out;
}

/** The loss and its gradients on `backend` are those of cpu, up to `bound`, leave nothing behind, and `kernel` ran. */
export async function expectGradientsOfCpu(backend: BackendName, bound: number, make: Make, loss: Loss, kernel?: string): Promise<void> {
  const wanted = await gradientsOf('cpu', make, loss);
  const { result, names } = await namesOf(() => gradientsOf(backend, make, loss));
  if (kernel) expect(names).toContain(kernel);
  for (const [i, values] of result.entries()) expect(distance(values, wanted[i]!)).toBeLessThan(bound);
}

/** Σ w y of a batch norm with statistics of the batch, by variables of {@link batchNormVariables}. */
export function batchNormLoss([x, scale, offset, weights]: tf.Variable[]): tf.Scalar {
  const { mean, variance } = tf.moments(x!, [0, 1, 2]);
  const y = tf.batchNorm(x as tf.Tensor4D, mean as tf.Tensor1D, variance as tf.Tensor1D, offset as never, scale as never, 1e-3);
  return tf.sum(tf.mul(y, weights!));
}

export const batchNormVariables = (c: number): tf.Variable[] => [
  variable([4, 5, 5, c], 1),
  variable([c], 2),
  variable([c], 3),
  variable([4, 5, 5, c], 4),
];
