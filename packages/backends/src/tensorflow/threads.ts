/**
 * Threads of TensorFlow that share work with the one that asks for it, on the CPU (native/tensorflow/threads.cc). With its own threads an op
 * of a tenth of a millisecond takes as long on two cores as on one, and a training step is made of hundreds.
 */
import type { TensorflowBackend } from './binding.ts';
import { ownNames } from './own-op.ts';

const sharing = new WeakSet<object>();

/** Lets oneDNN's ops run a part themselves. It reads this once, at its first op: to be called before. */
export function letCallersWork(): void {
  process.env['TF_ONEDNN_THREADPOOL_USE_CALLER_THREAD'] ??= '1';
}

/** Gives TensorFlow's device our threads, as many as it had. A second call does nothing. */
export function shareThreads(backend: object): void {
  if (sharing.has(backend) || !ownNames().has('Threads')) return;
  sharing.add(backend);
  (backend as TensorflowBackend).binding.executeOp('LeantuneThreads', [], [], 0);
}
