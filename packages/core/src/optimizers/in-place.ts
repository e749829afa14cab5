/**
 * Optimizer steps that a backend makes where the weights lie. A backend that can registers a kernel under the optimizer's name
 * (`@leantune/backends` does); it writes into its inputs, so the engine, which knows pure kernels alone, is not asked to run it.
 */
import * as tf from '@tensorflow/tfjs-core';

/** Runs `kernel` on the current backend. False if it has none, and then nothing happened. */
export function runInPlace(
  kernel: string,
  inputs: { readonly [name: string]: tf.Tensor },
  attrs: { readonly [name: string]: number },
): boolean {
  const found = tf.getKernel(kernel, tf.getBackend());
  if (!found) return false;
  found.kernelFunc({ inputs, attrs, backend: tf.backend() });
  return true;
}
