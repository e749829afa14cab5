/** Makes every TensorFlow.js backend able to train. */
export { BackendError, type BackendErrorCode } from './errors.ts';
export { type BackendChoice, type BackendName, type BackendOptions, useBackend } from './use-backend.ts';
