/**
 * Stock tfjs and LeanTune on one WebGPU adapter, in turns in one process. Stock: tfjs's kernels, `tf.variableGrads`, `tf.train.adam`.
 * LeanTune: our kernels, `valueAndGrads`, `adamW` without decay, which computes the same.
 */
import { useBackend } from '@leantune/backends';
import { adamW, valueAndGrads } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-webgpu';
import { type ModelSpec, makeSubject, type Subject } from '../models/subject.ts';

export const engines = ['stock', 'leantune'] as const;
export type Engine = (typeof engines)[number];
export type Of<T> = { readonly [engine in Engine]: T };

const stock = tf.getKernelsForBackend('webgpu') ?? [];
await useBackend('webgpu');
const kernels: Of<readonly tf.KernelConfig[]> = { stock, leantune: tf.getKernelsForBackend('webgpu') ?? [] };

/** Makes the kernels of `engine` those of webgpu. */
export function useKernels(engine: Engine): void {
  for (const { kernelName } of tf.getKernelsForBackend('webgpu') ?? []) tf.unregisterKernel(kernelName, 'webgpu');
  for (const kernel of kernels[engine]) tf.registerKernel(kernel);
}

/** Training steps of Adam from equal weights. Each ends when its weights are there, and returns its loss. */
export function trainingSteps(spec: ModelSpec, batch: number): Of<() => Promise<number>> {
  const step = (engine: Engine, optimizer: tf.Optimizer) => {
    const subject = makeSubject(spec, batch, 17);
    const variables = subject.weights.filter(({ trainable }) => trainable).map(({ variable }) => variable);
    const [differentiate, loss] = [engine === 'stock' ? tf.variableGrads : valueAndGrads, lossOf(subject)];
    return async (): Promise<number> => {
      const { value, grads } = differentiate(loss, variables);
      optimizer.applyGradients(Object.entries(grads).map(([name, tensor]) => ({ name, tensor })));
      const [result] = await value.data();
      await (variables.at(-1) as tf.Variable).data();
      tf.dispose([value, grads]);
      return result as number;
    };
  };
  return { stock: step('stock', tf.train.adam(1e-4)), leantune: step('leantune', adamW({ learningRate: 1e-4, weightDecay: 0 })) };
}

function lossOf(subject: Subject): () => tf.Scalar {
  if (subject.kind === 'function') return () => subject.loss((block, x) => tf.tidy(() => block(x)));
  return () => tf.losses.softmaxCrossEntropy(subject.y, subject.model.apply(subject.x, { training: true }) as tf.Tensor) as tf.Scalar;
}
