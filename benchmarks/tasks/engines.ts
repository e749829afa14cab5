/**
 * Stock tfjs and LeanTune on one WebGPU adapter, in turns in one process. Stock: tfjs's kernels, `tf.variableGrads`, `tf.train.adam`.
 * LeanTune: our kernels, `finetune`, `adamW` without decay, which computes the same.
 */
import { useBackend } from '@leantune/backends';
import { adamW, finetune } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-webgpu';
import { type ModelSpec, makeSubject, type Subject } from '../models/subject.ts';

export const engines = ['stock', 'leantune'] as const;
export type Engine = (typeof engines)[number];
export type Of<T> = { readonly [engine in Engine]: T };

const stockKernels = tf.getKernelsForBackend('webgpu') ?? [];
await useBackend('webgpu');
const kernels: Of<readonly tf.KernelConfig[]> = { stock: stockKernels, leantune: tf.getKernelsForBackend('webgpu') ?? [] };

/** Makes the kernels of `engine` those of webgpu. */
export function useKernels(engine: Engine): void {
  for (const { kernelName } of tf.getKernelsForBackend('webgpu') ?? []) tf.unregisterKernel(kernelName, 'webgpu');
  for (const kernel of kernels[engine]) tf.registerKernel(kernel);
}

/** Training steps of Adam from equal weights. Each ends when its weights are there, and returns its loss. */
export function trainingSteps(spec: ModelSpec, batch: number): Of<() => Promise<number>> {
  const step = (engine: Engine) => {
    const subject = makeSubject(spec, batch, 17);
    const weights = subject.weights.filter(({ trainable }) => trainable);
    const variables = weights.map(({ variable }) => variable);
    const loss = lossOf(subject);
    const minimize = engine === 'stock' ? stock(variables) : lean(subject, weights);
    return async (): Promise<number> => {
      const value = minimize(loss);
      const [result] = await value.data();
      await (variables.at(-1) as tf.Variable).data();
      value.dispose();
      return result as number;
    };
  };
  return { stock: step('stock'), leantune: step('leantune') };
}

type Minimize = (loss: () => tf.Scalar) => tf.Scalar;

function stock(variables: tf.Variable[]): Minimize {
  const optimizer = tf.train.adam(1e-4);
  return (loss) => optimizer.minimize(loss, true, variables) as tf.Scalar;
}

function lean({ model }: Subject, weights: Subject['weights']): Minimize {
  const tuned = finetune(model, [], { trainable: weights.map(({ name }) => name) });
  const optimizer = tuned.optimizer(adamW({ learningRate: 1e-4, weightDecay: 0 }));
  return (loss) => tuned.minimize(loss, optimizer);
}

function lossOf(subject: Subject): () => tf.Scalar {
  if (subject.kind === 'function') return () => subject.loss((block, x) => tf.tidy(() => block(x)));
  return () => tf.losses.softmaxCrossEntropy(subject.y, subject.model.apply(subject.x, { training: true }) as tf.Tensor) as tf.Scalar;
}
