/** `tf.train.sgd` where the weights lie: as the kernel `SgdUpdateAll` or `SgdUpdate`, on backends that have one. */
import * as tf from '@tensorflow/tfjs-core';
import { updateAllInPlace, updatedInPlace } from '../autograd/fused.ts';

interface Gradient {
  readonly name: string;
  readonly tensor: tf.Tensor;
}

/** Moves what can be moved in place; what is left is for the optimizer itself. Optimizers other than `tf.train.sgd` are left all. */
export function descend(optimizer: tf.Optimizer, gradients: readonly Gradient[]): readonly Gradient[] {
  const sgd = tf.SGDOptimizer.prototype as unknown as { readonly applyGradients: unknown };
  if (optimizer.applyGradients !== sgd.applyGradients) return gradients;
  const { learningRate: rate } = optimizer as unknown as { readonly learningRate: number };
  const variables = tf.engine().registeredVariables;
  const known = gradients.filter(({ name, tensor }) => variables[name] && tensor);
  const updates = known.map((of) => ({ of, changed: { variable: variables[of.name]! }, read: { gradient: of.tensor } }));
  const left = updateAllInPlace('SgdUpdateAll', updates, ({ length: count }) => ({ count, rate }));
  const still = new Set(left.filter((update) => !updatedInPlace('SgdUpdate', update, { rate })).map(({ of }) => of));
  return gradients.filter((gradient) => !known.includes(gradient) || still.has(gradient));
}
