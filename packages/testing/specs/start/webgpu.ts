import { useBackend } from '../../../backends/src/use-backend.ts';

/** Readies the webgpu backend in Node, on a device of ours also with tfjs's kernels: tfjs's own needs a browser. */
export async function start(_ours: boolean): Promise<void> {
  await useBackend('webgpu');
}
