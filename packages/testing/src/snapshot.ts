/** Values of a model at one moment, to compare bit for bit later. */
import { finetune, type Tuned } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import type { TinyModel } from './models/index.ts';
import type { Subject } from './subject.ts';

export type Snapshot = { readonly [name: string]: Float32Array };

/** Borrows. */
export function snapshot(tensors: { readonly [name: string]: tf.Tensor }): Snapshot {
  return Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, Float32Array.from(t.dataSync())]));
}

export function outputsOf(tiny: TinyModel): Snapshot {
  const outputs = tiny.predict();
  const values = snapshot(Object.fromEntries(outputs.map((t, i) => [`output ${i}`, t])));
  tf.dispose(outputs);
  return values;
}

/** Moves each variable by a little seeded noise, so that nothing is zero by initialisation. */
export function nudge(variables: readonly tf.Variable[], seed: number, scale = 0.1): void {
  tf.tidy(() => {
    for (const [i, v] of variables.entries()) v.assign(tf.add(v, tf.randomNormal(v.shape, 0, scale, 'float32', seed + i)));
  });
}

export type TunedTiny = { readonly tiny: TinyModel; readonly tuned: Tuned };

export function tune(subject: Subject, tiny: TinyModel): Tuned {
  return finetune(tiny.model as never, subject.make(), subject.trainable === undefined ? {} : { trainable: subject.trainable });
}

/** Makes a model, tunes it, runs `check`, and ends both. */
export async function withTuned(
  subject: Subject,
  make: (seed?: number) => TinyModel | Promise<TinyModel>,
  check: (both: TunedTiny) => void | Promise<void>,
  seed = 1,
): Promise<void> {
  const tiny = await make(seed);
  const tuned = tune(subject, tiny);
  try {
    await check({ tiny, tuned });
  } finally {
    tuned.dispose();
    tiny.dispose();
  }
}

/** `count` steps of an optimizer that is gone afterwards. */
export function steps({ tiny, tuned }: TunedTiny, count: number, inner: tf.Optimizer = tf.train.sgd(0.05)): number[] {
  const optimizer = tuned.optimizer(inner);
  const losses = Array.from({ length: count }, () => {
    const loss = tuned.minimize(() => tiny.loss(), optimizer);
    const value = loss.dataSync()[0]!;
    loss.dispose();
    return value;
  });
  optimizer.dispose();
  return losses;
}
