/** Makes every TensorFlow.js backend able to train. */
export type { PassedOver } from './automatic.ts';
export type { BackendName, BackendOptions } from './bring-up.ts';
export { BackendError, type BackendErrorCode } from './errors.ts';
export { type BackendChoice, useBackend } from './use-backend.ts';
