/** tfjs-backend-webgl, put right: the gradients of average pooling with padding; and storage in half precision. */
import type * as tf from '@tensorflow/tfjs-core';
import { avgPoolGradients, type PoolBackend } from '../avg-pool-gradients.ts';
import { registerKernels } from '../kernels.ts';
import { halfStorage, type WebglBackend } from './half-storage.ts';

/**
 * Registers the kernels for the backend `webgl`, in place of tfjs's; a second call does nothing. `@tensorflow/tfjs-backend-webgl` must
 * have been imported; `useBackend('webgl')` needs that too.
 */
export function registerWebglKernels(): void {
  registerKernels<PoolBackend & WebglBackend, tf.TensorInfo>('webgl', [halfStorage], [avgPoolGradients]);
}
