/** tfjs records kernels into a batch, and submits it when it is long enough or a value is read. */
import type { WebGPUBackend } from './backend.ts';

/** Submits the open batch, if there is one. */
export function submit(backend: WebGPUBackend): void {
  if (!backend.commandEncoder) return;
  backend.endComputePassEncoder();
  backend.submitQueue();
}
