/** tfjs-backend-webgl, put right (the gradients of average pooling with padding), and the kernels that store values in halves and in 24-bit words. */
import type * as tf from '@tensorflow/tfjs-core';
import { avgPoolGradients } from '../avg-pool-gradients.ts';
import { registerKernels } from '../kernels.ts';
import { codes } from './codes.ts';
import { halfStorage } from './half-storage.ts';
import { poolCodes } from './pool-codes.ts';
import type { WebglBackend } from './program.ts';

/**
 * Registers the kernels for the backend `webgl`, in place of tfjs's where those exist; a second call does nothing.
 * `@tensorflow/tfjs-backend-webgl` must have been imported; `useBackend('webgl')` needs that too.
 */
export function registerWebglKernels(): void {
  registerKernels<WebglBackend, tf.TensorInfo>('webgl', [codes, poolCodes, halfStorage], [avgPoolGradients]);
}
