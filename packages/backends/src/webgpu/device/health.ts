/**
 * Errors that the GPU reports after the call that caused them: a lost device, no memory left, a kernel that does not compile. The first is
 * kept, and the next kernel, upload or read throws it, so that no step goes on with values that were never computed.
 */
import { BackendError } from '../../errors.ts';
import type { WebGPUBackend } from '../backend.ts';
import { submit } from '../recording/batch.ts';

const failures = new WeakMap<object, BackendError>();

/** Makes the next use of `backend` throw `error`. The first error counts; a lost device outlasts all. */
export function fail(backend: WebGPUBackend, error: BackendError): void {
  if (!failures.has(backend) || error.code === 'device-lost') failures.set(backend, error);
}

/**
 * Throws what the GPU has reported since the last call. A lost device is reported each time. The open batch ends: with a kernel in it that
 * failed, nothing of it runs, and what comes after the error must not be part of it.
 */
export function assertHealthy(backend: WebGPUBackend): void {
  const error = failures.get(backend);
  if (!error) return;
  if (error.code !== 'device-lost') {
    failures.delete(backend);
    submit(backend);
  }
  throw error;
}

export const isLost = (backend: WebGPUBackend): boolean => failures.get(backend)?.code === 'device-lost';

export const deviceLost = (reason: string): BackendError =>
  new BackendError(
    'device-lost',
    'webgpu',
    `the device is lost (${reason}), and the values of every tensor on it. Call useBackend('webgpu') for a new one, load the model, and restore the last saved adapter`,
  );
