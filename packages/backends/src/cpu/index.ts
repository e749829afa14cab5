/** tfjs-backend-cpu, put right (the gradients of average pooling with 'same' padding), and the kernels that techniques need. */
import * as tf from '@tensorflow/tfjs-core';
import { avgPoolGradients } from './avg-pool-gradients.ts';
import { codes } from './codes.ts';
import { halves } from './half.ts';

/** Registers the kernels for the backend `cpu`, in place of tfjs's. A second call does nothing. */
export function registerCpuKernels(): void {
  for (const config of [...avgPoolGradients, ...codes, ...halves]) {
    const stock = (tf.getKernelsForBackend('cpu') ?? []).find(({ kernelName }) => kernelName === config.kernelName);
    if (stock?.kernelFunc === config.kernelFunc) continue;
    if (stock) tf.unregisterKernel(config.kernelName, 'cpu');
    tf.registerKernel(config);
  }
}
