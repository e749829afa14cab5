/**
 * Clipping by global norm: all gradients shrink by one factor, so that together they are no longer than a bound and keep their direction.
 *
 *   g ← g · min(1, norm / (‖g₁, g₂, …‖₂ + 1e-6))
 *
 * Pascanu, Mikolov, Bengio 2012, arXiv 1211.5063; the 1e-6 is that of torch.nn.utils.clip_grad_norm_. Different: a norm that is not
 * finite is an error, where torch would by default turn every gradient into NaN. The factor is computed on the device; the norm is read
 * for that error alone, and in pages on webgpu on the side.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { select } from './move-if.ts';
import { checkRanges, positive } from './ranges.ts';
import { readAside, readsOnTheSide } from './read-aside.ts';

const sumOfSquares = (x: tf.Tensor): tf.Tensor => tf.tidy(() => tf.sum(tf.square(x)));
const read = (x: () => tf.Tensor): number => tf.tidy(() => x().dataSync()[0]!);

/** The length of all gradients together. The caller owns it. */
const globalNorm = (gradients: readonly tf.Tensor[]): tf.Scalar =>
  tf.tidy(() => tf.sqrt(tf.addN(gradients.map(sumOfSquares)) as tf.Scalar));

/**
 * Takes `gradients` and returns those to apply: the same tensors when they are short enough, else new ones (it disposes the old ones,
 * one by one). Reads one number back from the device.
 *
 * In pages on webgpu a number cannot be read at once: there all gradients returned are new, those of a norm that is not finite are zeros,
 * and the next call throws.
 *
 * @throws FinetuneError `bad-option` unless norm > 0; `not-finite` naming the gradients with NaN or Inf. Then `gradients` are untouched.
 */
export function clipByGlobalNorm(gradients: tf.NamedTensorMap, norm: number): tf.NamedTensorMap {
  checkRanges('clipByGlobalNorm', [positive, { norm }]);
  const entries = Object.entries(gradients);
  if (entries.length === 0) return gradients;
  if (readsOnTheSide()) return clipAside(gradients, norm);
  const total = globalNorm(Object.values(gradients));
  try {
    const value = total.dataSync()[0]!;
    if (!Number.isFinite(value)) throw notFinite(entries, value);
    return norm / (value + 1e-6) >= 1 ? gradients : scaled(gradients, total, norm);
  } finally {
    total.dispose();
  }
}

/** The norm of an earlier call, if that was not finite. */
let wrong: number | undefined;

function clipAside(gradients: tf.NamedTensorMap, norm: number): tf.NamedTensorMap {
  if (wrong !== undefined) {
    const message = `the global norm of an earlier call was ${wrong}, and the gradients that it returned are zeros. Lower the learning rate, or scale the loss down.`;
    wrong = undefined;
    throw new FinetuneError('not-finite', 'clipByGlobalNorm', message);
  }
  const total = globalNorm(Object.values(gradients));
  const finite = tf.tidy(() => tf.isFinite(tf.reshape(total, [1])) as tf.Tensor1D);
  try {
    void readAside(total).then((value = 0) => {
      if (!Number.isFinite(value)) wrong ??= value;
    });
    return scaled(gradients, total, norm, finite);
  } finally {
    tf.dispose([total, finite]);
  }
}

/**
 * The same without a read: all gradients are new, also short ones, which keep their bits.
 *
 * @param watch is lent the norm: where that is not finite, nothing may move
 */
export function clipUnread(gradients: tf.NamedTensorMap, norm: number, watch: (norm: tf.Scalar) => void): tf.NamedTensorMap {
  if (Object.keys(gradients).length === 0) return gradients;
  const total = globalNorm(Object.values(gradients));
  try {
    watch(total);
    return scaled(gradients, total, norm);
  } finally {
    total.dispose();
  }
}

/** Disposes `gradients`, one by one. Zeros where `finite` is given and false. */
function scaled(gradients: tf.NamedTensorMap, total: tf.Scalar, norm: number, finite?: tf.Tensor1D): tf.NamedTensorMap {
  const scale = tf.tidy(() => tf.minimum(tf.div(norm, tf.add(total, 1e-6)), 1));
  const entries = Object.entries(gradients).map(([name, gradient]) => {
    const clipped = tf.tidy(() => {
      const scaled = tf.mul(gradient, scale);
      return finite ? select(finite, scaled, tf.zerosLike(gradient)) : scaled;
    });
    gradient.dispose();
    return [name, clipped] as const;
  });
  scale.dispose();
  return Object.fromEntries(entries);
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
