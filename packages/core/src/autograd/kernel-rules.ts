/**
 * Gradient rules of kernels that another package brings. A rule answers for all wanted inputs in one call, where tfjs asks for one
 * input after the other: a kernel that recomputes something large in backward does it once.
 */
import { FinetuneError } from '../errors.ts';
import type { GradientRule } from '../technique.ts';

const rules = new Map<string, GradientRule>();

/**
 * Says how `kernel` is differentiated, on every tape and whatever the model. A technique's own `gradients` win over it, and keep
 * rules see the values that it keeps: a kept input `x` as `'inputs.x'`, any other value by the name it is kept under.
 *
 * @throws FinetuneError `conflict` if the kernel has another rule: two packages would fight over it
 */
export function registerGradientRule(kernel: string, rule: GradientRule): void {
  const before = rules.get(kernel);
  if (before && before !== rule)
    throw new FinetuneError(
      'conflict',
      'core',
      `got a second gradient rule for kernel ${kernel}; expected one. Name your kernel otherwise.`,
    );
  rules.set(kernel, rule);
}

export const kernelRule = (kernel: string): GradientRule | undefined => rules.get(kernel);
