import type { Technique } from '@leantune/core';
import { mixedPrecision } from '@leantune/mixed-precision';

/** The techniques of each precision, by the name of Keras's policy. */
export const precisions: { readonly [policy: string]: () => Technique[] } = {
  float32: () => [],
  mixed_float16: () => [mixedPrecision()],
  mixed_bfloat16: () => [mixedPrecision({ policy: 'mixed_bfloat16' })],
};

/** Names of `precisions` given with commas between them. @throws Error naming those that there are not */
export function precisionsIn(list: string, who: string): string[] {
  const asked = list.split(',');
  const unknown = asked.filter((precision) => !Object.hasOwn(precisions, precision));
  if (unknown.length === 0) return asked;
  throw new Error(`[${who}] got --precisions ${unknown.join(', ')}; expected some of ${Object.keys(precisions).join(', ')}.`);
}
