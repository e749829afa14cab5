/**
 * Max pooling waits as the place of the largest element in its window, where tfjs keeps input and output.
 *
 *   kept: ceil(n_out · bits / 32) words, bits = 2 for windows of up to 4, 4 for up to 16, 8 for up to 256; exact
 */
import type { GradientRule } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { run } from './kernels.ts';

const bitsOf = ({ filterSize }: { readonly [name: string]: unknown }): number => {
  const [height, width = height] = [filterSize].flat() as [number, number?];
  const taps = height * (width ?? height);
  return taps <= 4 ? 2 : taps <= 16 ? 4 : 8;
};

export const maxPoolRule: GradientRule = {
  keep({ inputs, attrs }) {
    return {
      codes: () => {
        const packed = tf.keep(run('MaxPoolIndex', { x: inputs['x']! }, { ...attrs, bits: bitsOf(attrs) }));
        return { bytes: packed.size * 4, decode: () => packed, dispose: () => packed.dispose() };
      },
    };
  },
  backward([dy], { codes }, { attrs, inputs }) {
    return { x: run('MaxPoolIndexGrad', { codes: codes!, dy: dy! }, { ...attrs, bits: bitsOf(attrs), inputShape: inputs['x']!.shape }) };
  },
};
