/**
 * Clipping by global norm: all gradients shrink by one factor, so that together they are no longer than a bound and keep their direction.
 *
 *   g ← g · min(1, norm / (‖g₁, g₂, …‖₂ + 1e-6))
 *
 * Pascanu, Mikolov, Bengio 2012, arXiv 1211.5063; the 1e-6 is that of torch.nn.utils.clip_grad_norm_. Different: a norm that is not
 * finite is an error, where torch would by default turn every gradient into NaN.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { checkRanges, positive } from './ranges.ts';

const sumOfSquares = (x: tf.Tensor): tf.Tensor => tf.tidy(() => tf.sum(tf.square(x)));
const read = (x: () => tf.Tensor): number => tf.tidy(() => x().dataSync()[0]!);

/**
 * Takes `gradients` and returns those to apply: the same tensors when they are short enough, else new ones (it disposes the old ones,
 * one by one). Reads one number back from the device.
 *
 * @throws FinetuneError `bad-option` unless norm > 0; `not-finite` naming the gradients with NaN or Inf. Then `gradients` are untouched.
 */
export function clipByGlobalNorm(gradients: tf.NamedTensorMap, norm: number): tf.NamedTensorMap {
  checkRanges('clipByGlobalNorm', [positive, { norm }]);
  const entries = Object.entries(gradients);
  if (entries.length === 0) return gradients;
  const total = read(() => tf.sqrt(tf.addN(entries.map(([, g]) => sumOfSquares(g)))));
  if (!Number.isFinite(total)) throw notFinite(entries, total);
  const scale = norm / (total + 1e-6);
  if (scale >= 1) return gradients;
  return Object.fromEntries(
    entries.map(([name, gradient]) => {
      const clipped = tf.mul(gradient, scale);
      gradient.dispose();
      return [name, clipped];
    }),
  );
}

function notFinite(entries: [string, tf.Tensor][], total: number): FinetuneError {
  const names = entries.filter(([, g]) => !Number.isFinite(read(() => sumOfSquares(g)))).map(([name]) => name);
  const where = names.length > 0 ? `from ${names.join(', ')}` : 'though each gradient alone is finite: together they overflow float32';
  return new FinetuneError(
    'not-finite',
    'clipByGlobalNorm',
    `the global norm is ${total}, ${where}. Skip this step, lower the learning rate, or scale the loss down.`,
  );
}
