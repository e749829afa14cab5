/** tfjs records kernels into a batch, and submits it when it is long enough or a value is read. */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGPUBackend } from '../backend.ts';

const FLAG = 'WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE';
/** Kernels of a batch. tfjs submits after 15; a submission costs as much as several kernels, and buffers wait for none here (pool.ts). */
const LENGTH = 64;
let lengthened = false;

/** Once, so that a length of the user's own stays. */
export function lengthenBatches(): void {
  if (!lengthened && tf.env().getNumber(FLAG) === 15) tf.env().set(FLAG, LENGTH);
  lengthened = true;
}

/** Kernels of the first batch after a read, when the device has nothing to do; each next one is twice as long. */
const FIRST = 8;
const lengths = new WeakMap<WebGPUBackend, number>();

/** Whether the open batch has as many kernels as it should. */
export function isFull(backend: WebGPUBackend): boolean {
  const length = Math.min(tf.env().getNumber(FLAG), lengths.get(backend) ?? LENGTH);
  if (backend.dispatchCountInPass < length) return false;
  lengths.set(backend, 2 * length);
  return true;
}

/** For a device that has come to the end of its queue. */
export function startShort(backend: WebGPUBackend): void {
  lengths.set(backend, FIRST);
}

/** Submits the open batch, if there is one. */
export function submit(backend: WebGPUBackend): void {
  if (!backend.commandEncoder) return;
  backend.endComputePassEncoder();
  backend.submitQueue();
}
