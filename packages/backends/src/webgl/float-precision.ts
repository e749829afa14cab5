/**
 * tfjs-backend-webgl takes a GPU that renders float32 for one of half precision: its test for halves runs where float32 is there, and not
 * where it is absent. Then `epsilon()` is 1e-4 in place of 1e-7, which Adam divides by and which losses clip with: training goes another
 * way than on every other backend.
 */
import * as tf from '@tensorflow/tfjs-core';

interface WebglBackend extends tf.KernelBackend {
  floatPrecisionValue?: 16 | 32;
}

/** Says that `backend` is of float32, if it is. */
export function setFloatPrecision(backend: WebglBackend): void {
  if (tf.env().getBool('WEBGL_RENDER_FLOAT32_ENABLED')) backend.floatPrecisionValue = 32;
}
