/** `tf.train.sgd` where the weights lie: as the kernel `SgdUpdate`, on backends that have it. */
import * as tf from '@tensorflow/tfjs-core';
import { updatedInPlace } from '../autograd/fused.ts';

type Gradients = readonly { readonly name: string; readonly tensor: tf.Tensor }[];

/** Moves what can be moved in place; what is left is for the optimizer itself. Optimizers other than `tf.train.sgd` are left all. */
export function descend(optimizer: tf.Optimizer, gradients: Gradients): Gradients {
  const sgd = tf.SGDOptimizer.prototype as unknown as { readonly applyGradients: unknown };
  if (optimizer.applyGradients !== sgd.applyGradients) return gradients;
  const { learningRate: rate } = optimizer as unknown as { readonly learningRate: number };
  const variables = tf.engine().registeredVariables;
  return gradients.filter(({ name, tensor: gradient }) => {
    const variable = variables[name];
    return !(variable && gradient && updatedInPlace('SgdUpdate', { variable }, { gradient }, { rate }));
  });
}
