/**
 * Lets techniques compute kernels in their own way. The rules nest like middleware around tfjs's kernel; what a rule runs itself is asked
 * of the rules behind it, and what that kernel runs inside is asked of all of them. Nothing of it is recorded: the tape sees the kernel that
 * was asked for.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { ComputeRule, KernelCall } from '../technique.ts';
import { offRecord } from './held.ts';

type Result = tf.Tensor | tf.Tensor[];
type Run = Parameters<ComputeRule>[1];

/** True inside of a rule: what it runs with tfjs's ops is not asked again. */
let inRule = false;

function during<T>(value: boolean, f: () => T): T {
  const before = inRule;
  inRule = value;
  try {
    return f();
  } finally {
    inRule = before;
  }
}

/** The result of `call` by `rules`, or by `plain` where there are none. */
export function compute(rules: readonly ComputeRule[] | undefined, call: KernelCall, plain: Run): Result {
  if (!rules?.length || inRule) return plain(call);
  const from =
    (i: number): Run =>
    (given) => {
      const rule = rules[i];
      if (!rule) return during(false, () => plain(given));
      return during(true, () => rule({ ...given, layer: call.layer }, from(i + 1)));
    };
  return offRecord(() => from(0)(call));
}
