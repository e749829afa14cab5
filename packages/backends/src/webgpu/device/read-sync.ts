/**
 * dataSync() in Node. tfjs draws to a canvas for it, which Node has not. Dawn delivers results from a function that it hands to
 * setImmediate; we catch that function once, and call it ourselves until the buffer is mapped, before the event loop turns.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { WebGPUBackend } from '../backend.ts';
import { startShort } from '../recording/batch.ts';
import { type GpuBuffer, usage } from './gpu.ts';
import { assertHealthy, deviceLost } from './health.ts';

type Deliver = (...args: unknown[]) => void;
let deliver: Deliver | undefined;

/** Awaits an operation of Dawn, and catches what delivers its result: a native function. */
export async function catchDelivery<T>(operation: () => Promise<T>): Promise<T> {
  const { setImmediate } = globalThis;
  globalThis.setImmediate = ((f: Deliver, ...args: unknown[]) => {
    if (f.name === '' && String(f).includes('[native code]')) deliver = f;
    return setImmediate(f, ...args);
  }) as typeof setImmediate;
  try {
    return await operation();
  } finally {
    globalThis.setImmediate = setImmediate;
  }
}

export const canReadSync = (): boolean => deliver !== undefined;

/** The values of a tensor on the GPU. Waits for all that is queued. */
export function readBuffer(backend: WebGPUBackend, buffer: GpuBuffer, dtype: tf.DataType): tf.backend_util.BackendValues {
  const { size } = buffer;
  const staging = backend.bufferManager.acquireBuffer(size, usage.copyDst | usage.mapRead);
  backend.ensureCommandEncoderReady();
  backend.endComputePassEncoder();
  backend.commandEncoder!.copyBufferToBuffer(buffer, 0, staging, 0, size);
  backend.submitQueue();
  staging.mapAsync(1).catch(() => {}); // seen below: the buffer is not mapped
  deliverUntil(() => staging.mapState !== 'pending');
  if (staging.mapState !== 'mapped') {
    assertHealthy(backend);
    throw deviceLost('it gave no value back');
  }
  startShort(backend);
  const values = staging.getMappedRange().slice(0);
  staging.unmap();
  backend.bufferManager.releaseBuffer(staging);
  return tf.util.convertBackendValuesAndArrayBuffer(values, dtype);
}

/** Lets Dawn deliver until `done`. What it would hand to setImmediate meanwhile waits: one is enough, however often we ask. */
function deliverUntil(done: () => boolean): void {
  const { setImmediate } = globalThis;
  const never = new Int32Array(new SharedArrayBuffer(4));
  let next: Deliver | undefined;
  globalThis.setImmediate = ((f: Deliver) => {
    next = f;
  }) as unknown as typeof setImmediate;
  try {
    for (let turn = 0; !done(); turn++) {
      deliver!();
      if (turn > 100) Atomics.wait(never, 0, 0, 0.2); // milliseconds
    }
  } finally {
    globalThis.setImmediate = setImmediate;
    if (next) setImmediate(next);
  }
}
