/** One training step, as a user of each engine writes it: `trainOnBatch` for a LayersModel, `minimize` for a function. */
import { checkpoint, finetune } from '@leantune/core';
import type * as tf from '@tensorflow/tfjs-core';
import type { layers } from '@tensorflow/tfjs-layers';
import type { Lever } from '../experiment.ts';
import { type Subject, tidied, type Weight } from '../models/subject.ts';

export interface Trainer {
  /** Makes a step of `optimizer`; returns the loss. */
  step(optimizer: tf.Optimizer): Promise<number>;
}

/** The weights that a lever trains. */
export function selectedWeights({ weights, lastBlock, head }: Subject, lever: Lever): Weight[] {
  const chosen = { full: /./, 'full + checkpoint': /./, 'last block': lastBlock, biases: /(bias|beta)$/, head }[lever];
  return weights.filter(({ name, trainable }) => trainable && chosen.test(name));
}

export function stockTrainer(subject: Subject, lever: Lever): Trainer {
  const selected = selectedWeights(subject, lever);
  if (subject.kind === 'layers') {
    for (const layer of subject.model.layers) freeze(layer, new Set(selected.map(({ name }) => name)));
    return { step: (optimizer) => fitStep(subject, optimizer) };
  }
  const variables = selected.map(({ variable }) => variable);
  return { step: async (optimizer) => read(optimizer.minimize(() => subject.loss(tidied), true, variables)) };
}

export function leanTrainer(subject: Subject, lever: Lever): Trainer {
  const trainable = selectedWeights(subject, lever).map(({ name }) => name);
  const recompute = lever === 'full + checkpoint';
  if (subject.kind === 'function') {
    const tuned = finetune(subject.model, [], { trainable });
    return { step: async (optimizer) => read(tuned.minimize(() => subject.loss(recompute ? checkpoint : tidied), optimizer)) };
  }
  const tuned = finetune(subject.model, [], { trainable, checkpoint: recompute });
  const ours = new Map<tf.Optimizer, tf.Optimizer>();
  return {
    step: (optimizer) => {
      if (!ours.has(optimizer)) ours.set(optimizer, tuned.optimizer(optimizer));
      return fitStep(subject, ours.get(optimizer) as tf.Optimizer);
    },
  };
}

/**
 * Trains only the named weights of a layer with stock tfjs. A BatchNorm none of whose weights train runs as inference, which stock
 * tfjs does not do by itself: so both engines compute the same function, and stock keeps less than it would.
 */
function freeze(layer: layers.Layer, names: ReadonlySet<string>): void {
  for (const weight of layer.trainableWeights) (weight as { trainable: boolean }).trainable = names.has(weight.originalName);
  if (layer.getClassName() !== 'BatchNormalization' || layer.trainableWeights.length > 0) return;
  const call = layer.call;
  layer.call = (inputs, kwargs) => call.call(layer, inputs, { ...kwargs, training: false });
}

export async function fitStep({ model, x, y }: Subject & { readonly kind: 'layers' }, optimizer: tf.Optimizer): Promise<number> {
  if (model.optimizer !== optimizer) model.compile({ optimizer, loss: 'categoricalCrossentropy' });
  return (await model.trainOnBatch(x, y)) as number;
}

export function read(loss: tf.Scalar | null): number {
  const [value] = (loss as tf.Scalar).dataSync();
  (loss as tf.Scalar).dispose();
  return value as number;
}
