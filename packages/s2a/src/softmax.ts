/**
 * Softmax waits as its output, in rows of codes (`rows.ts`), and its gradient is one pass.
 *
 *   dx = y (dy − Σ dy·y / Σ y)
 *
 * Σ y is 1 but for what rounding moved; dividing by it keeps Σ dx = 0, as of the exact gradient. That division is ours. A
 * matrix of probabilities is a model's output, and waits as it is.
 */
import type { GradientRule } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Precision, run } from './kernels.ts';
import type { RowStore } from './rows.ts';

export function softmaxRule(store: RowStore, precision: Precision): GradientRule {
  return {
    keep({ outputs, layer = '' }) {
      const y = outputs[0]!;
      // What a loss takes the logarithm of: dL/dy = −1 / y of the exact y, which is small anyway.
      if (y.rank < 3) return { y };
      const bits = precision({ kernel: 'Softmax', layer, elements: y.size, kind: 'softmax' });
      return bits === 32 ? { y } : { codes: () => store.pack(y, bits, y.shape.at(-1)!) };
    },
    backward([dy], { codes, y }) {
      if (y) return { logits: tf.getGradient('Softmax').gradFunc(dy!, [y], { dim: -1 } as never)['logits']!() };
      const { bits, group } = store.rows(codes!);
      return { logits: run('SoftmaxGradRows', { codes: codes!, dy: dy! }, { bits, group }) };
    },
  };
}
