import type { Technique } from '@leantune/core';
import { mixedPrecision } from '@leantune/mixed-precision';

/** The techniques of each precision, by the name of Keras's policy. */
export const precisions: { readonly [policy: string]: () => Technique[] } = {
  float32: () => [],
  mixed_float16: () => [mixedPrecision()],
  mixed_bfloat16: () => [mixedPrecision({ policy: 'mixed_bfloat16' })],
};
