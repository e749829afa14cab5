/** Prints the allocator's figures around a product of two matrices of 4 MiB each, as JSON. */
import { adamW } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import { type BackendError, useBackend } from '../../src/index.ts';
import { allocatorStats, resetPeak } from '../../src/tensorflow/index.ts';

await useBackend('tensorflow');
const backend = tf.backend();
const none = allocatorStats(backend).bytesInUse;
const a = tf.fill([1024, 1024], 1); // a kernel: values given by JavaScript may stay where JavaScript has them
const b = tf.tidy(() => tf.relu(tf.matMul(a, a))); // the product goes
const { bytesInUse: two, peakBytes: peak, device } = allocatorStats(backend);
resetPeak(backend);
const { peakBytes: peakAfterReset } = allocatorStats(backend);
b.dispose();
const after = allocatorStats(backend).bytesInUse;

/** Bytes that handles in another shape take, and that stay behind the ops that read them. */
const shaped = [tf.reshape(a, [512, 2048]), tf.expandDims(a), tf.cast(a, 'float32')];
const views = [allocatorStats(backend).bytesInUse - after];
tf.tidy(() => void shaped.map((x) => tf.sum(x, 0)));
tf.dispose(shaped);
views.push(allocatorStats(backend).bytesInUse - after);

/** The most that a step of AdamW holds beside weights and moments, of 4 MiB each. */
function beside(weightDecay: number): number {
  const [w, optimizer] = [tf.variable(a), adamW({ weightDecay })];
  const gradients = { [w.name]: a };
  optimizer.applyGradients(gradients); // makes the moments, and a buffer of its own for w
  const { bytesInUse } = allocatorStats(backend);
  resetPeak(backend);
  optimizer.applyGradients(gradients);
  return allocatorStats(backend).peakBytes - bytesInUse;
}
const adamWBeside = [beside(0), beside(0.01)];

/** A backend whose package has no addon beside it. */
function codeWithout(): string | undefined {
  try {
    allocatorStats({ isGPUPackage: true });
  } catch (error) {
    return (error as BackendError).code;
  }
  return undefined;
}
console.log(
  JSON.stringify({ none, two, peak, peakAfterReset, after, views, adamWBeside, device: device.slice(-5), absent: codeWithout() }),
);
