import '@tensorflow/tfjs-backend-webgl';
import { useBackend } from '../../../backends/src/use-backend.ts';

/** Readies the webgl backend, with our kernels unless `stock`; in pages only. */
export async function start(ours: boolean): Promise<void> {
  if (ours) await useBackend('webgl');
}
