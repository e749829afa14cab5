import { useBackend } from '../../../backends/src/use-backend.ts';
import { openDevice } from '../../../backends/src/webgpu/device/device.ts';

/** Readies the webgpu backend in Node: with tfjs's kernels too on a device of ours, as tfjs looks for its own in browsers only. */
export async function start(ours: boolean): Promise<void> {
  if (ours) await useBackend('webgpu');
  else await openDevice();
}
