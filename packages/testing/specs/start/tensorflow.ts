import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-node/dist/register_all_kernels.js';
import { NodeJSKernelBackend } from '@tensorflow/tfjs-node/dist/nodejs_kernel_backend.js';

/** Path of tfjs-node's addon; set at build time. */
declare const BINDING: string;

/** tfjs-node's own entry looks for the addon beside itself; a bundle is elsewhere. */
export async function start(_ours: boolean): Promise<void> {
  tf.registerBackend('tensorflow', () => new NodeJSKernelBackend(require(BINDING), '@tensorflow/tfjs-node'));
}
