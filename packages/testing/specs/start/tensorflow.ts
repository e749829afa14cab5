import * as tf from '@tensorflow/tfjs-core';
import { registerTensorflowKernels, shimNode } from '../../../backends/src/tensorflow/index.ts';

/** Path of tfjs-node's addon; set at build time. */
declare const BINDING: string;

/** tfjs-node's own entry looks for the addon beside itself; a bundle is elsewhere. Our kernels replace its own unless `stock`. */
export async function start(ours: boolean): Promise<void> {
  shimNode();
  await import('@tensorflow/tfjs-node/dist/register_all_kernels.js');
  const { NodeJSKernelBackend } = await import('@tensorflow/tfjs-node/dist/nodejs_kernel_backend.js');
  tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(require(BINDING), '@tensorflow/tfjs-node'));
  if (ours) registerTensorflowKernels();
}
