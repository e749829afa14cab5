/** Training steps of transformer blocks through WebGPU, each waited for. */
import { finetune } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { encoderWithLoss } from '../models/losses.ts';
import { precisions } from '../tasks/precisions.ts';

export interface BlockShape {
  readonly width: number;
  readonly tokens: number;
  readonly batch: number;
  readonly layers: number;
}

/** What a command line says of a block's shape. */
export const shapeOptions = {
  width: { type: 'string', default: '1024' },
  tokens: { type: 'string', default: '512' },
  batch: { type: 'string', default: '8' },
  layers: { type: 'string', default: '1' },
} as const;

export const shapeIn = ({ width, tokens, batch, layers }: { readonly [name in keyof BlockShape]: string }): BlockShape => ({
  width: Number(width),
  tokens: Number(tokens),
  batch: Number(batch),
  layers: Number(layers),
});

export interface StepTime {
  readonly ms: number;
  /** JavaScript's part of the forward pass: until the loss can be asked for. */
  readonly recordMs: number;
}

/** A step by SGD of all weights but the tables of tokens, with the techniques of a precision of `precisions`. */
export function trainBlock(precision: string, { batch, ...shape }: BlockShape): () => StepTime {
  const { width } = shape;
  const { model, loss } = encoderWithLoss(batch, {
    ...shape,
    heads: Math.max(1, width / 64),
    inner: 4 * width,
    vocabulary: 1000,
    classes: 2,
  });
  const tuned = finetune(model, precisions[precision]!(), { trainable: /encoder\.layer|classifier/ });
  const optimizer = tuned.optimizer(tf.train.sgd(1e-3));
  return () => {
    const begin = performance.now();
    let recorded = 0;
    const value = tuned.minimize(() => {
      const y = loss();
      recorded = performance.now();
      return y;
    }, optimizer); // reads the loss: the device has done forward and backward by then
    tf.tidy(() => tf.slice(tf.reshape(tuned.variables[0]!, [-1]), [0], [1]).dataSync()); // and the update
    value.dispose();
    return { ms: performance.now() - begin, recordMs: recorded - begin };
  };
}
