/**
 * Batch norm that trains, where the backend has it as one kernel each way (core's `BatchNormTrain`): x waits in rows of codes (`rows.ts`)
 * and is read once, for all three gradients. Elsewhere the keep rule of `four-bit.ts` meets the ops that it is made of.
 *
 *   dx = r · scale · (dy − mean(dy) − x̂ · mean(dy x̂)),  x̂ = (x − mean) r
 */
import type { GradientRule } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Precision, runMany } from './kernels.ts';
import type { RowStore } from './rows.ts';

export function batchNormRule(store: RowStore, precision: Precision): GradientRule {
  return {
    keep({ inputs, outputs, layer = '' }) {
      const { x, scale } = inputs;
      const [, mean, variance] = outputs;
      const bits = precision({ kernel: 'BatchNormTrain', layer, elements: x!.size, kind: 'norm' });
      const values = bits === 32 ? { x: x! } : { codes: () => store.pack(x!, bits) };
      return { ...values, mean: mean!, variance: variance!, ...(scale && { scale }) };
    },
    backward([dy], { codes, x = tf.reshape(store.read(codes!), dy!.shape), ...statistics }, { attrs, wanted }) {
      const [dx, scale, offset] = runMany('BatchNormTrainGrad', { dy: dy!, x, ...statistics }, attrs);
      const all: { readonly [input: string]: tf.Tensor } = { x: dx!, scale: scale!, offset: offset! };
      return Object.fromEntries(wanted.map((input) => [input, all[input]!]));
    },
  };
}
