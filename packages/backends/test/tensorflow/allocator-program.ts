/** Prints the allocator's figures around a product of two matrices of 4 MiB each, as JSON. */
import * as tf from '@tensorflow/tfjs';
import { type BackendError, useBackend } from '../../src/index.ts';
import { allocatorStats, resetPeak } from '../../src/tensorflow/index.ts';

await useBackend('tensorflow');
const backend = tf.backend();
const none = allocatorStats(backend).bytesInUse;
const a = tf.ones([1024, 1024]);
const b = tf.tidy(() => tf.relu(tf.matMul(a, a))); // the product goes
const { bytesInUse: two, peakBytes: peak, device } = allocatorStats(backend);
resetPeak(backend);
const { peakBytes: peakAfterReset } = allocatorStats(backend);
b.dispose();
const after = allocatorStats(backend).bytesInUse;

/** A backend whose package has no addon beside it. */
function codeWithout(): string | undefined {
  try {
    allocatorStats({ isGPUPackage: true });
  } catch (error) {
    return (error as BackendError).code;
  }
  return undefined;
}
console.log(JSON.stringify({ none, two, peak, peakAfterReset, after, device: device.slice(-5), absent: codeWithout() }));
