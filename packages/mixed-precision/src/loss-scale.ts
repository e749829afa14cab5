/**
 * Loss scaling: gradients that float16 would round to zero are computed S times as large.
 *
 *   g = ∇(S · loss) / S        finite: apply, and after N such steps in a row S ← S · growth
 *                              not finite: skip the step, S ← max(S · backoff, floor)
 *
 * Micikevicius et al. 2017, arXiv 1710.03740. The constants are those of Keras's LossScaleOptimizer and of torch's GradScaler; as there,
 * S grows only to what is finite in float32.
 */
import { FinetuneError } from '@leantune/core';

/** A schedule of S: plain data, so that it is saved with the technique's options. */
export type LossScale = Dynamic | Fixed;

interface Fixed {
  readonly kind: 'fixed';
  readonly scale: number;
}

interface Dynamic {
  readonly kind: 'dynamic';
  readonly initial: number;
  readonly growth: number;
  readonly backoff: number;
  readonly interval: number;
  readonly floor: number;
}

/** Where a schedule is. */
export interface LossScaleState {
  readonly scale: number;
  /** Steps with finite gradients since the scale last changed. */
  readonly finiteSteps: number;
}

/** Options of {@link dynamicLossScale}. */
export interface DynamicLossScaleOptions {
  /** Whose constants: initial 2¹⁵ of Keras 3, or 2¹⁶ of torch.amp. @default 'keras' */
  readonly preset?: 'keras' | 'torch';
  /** S at the first step. @default the preset's */
  readonly initial?: number;
  /** Factor after `interval` steps with finite gradients. @default 2 */
  readonly growth?: number;
  /** Factor after a step without. @default 0.5 */
  readonly backoff?: number;
  /** @default 2000 */
  readonly interval?: number;
  /** S falls no lower. @default 0: as in Keras 3 and torch; tf-keras has 1 */
  readonly floor?: number;
}

const initials = { keras: 2 ** 15, torch: 2 ** 16 };

/**
 * S by what the gradients do.
 *
 * @throws FinetuneError `bad-option`
 */
export function dynamicLossScale(options: DynamicLossScaleOptions = {}): LossScale {
  const { preset = 'keras', growth = 2, backoff = 0.5, interval = 2000, floor = 0 } = options;
  const initial = options.initial ?? initials[preset];
  const faults = [
    ...(preset in initials ? [] : [`preset "${preset}"; expected "keras" or "torch"`]),
    ...(initial === undefined || isScale(initial) ? [] : [`initial ${initial}; expected a finite number above 0`]),
    ...(growth > 1 && Number.isFinite(growth) ? [] : [`growth ${growth}; expected a number above 1`]),
    ...(backoff > 0 && backoff < 1 ? [] : [`backoff ${backoff}; expected a number between 0 and 1`]),
    ...(Number.isInteger(interval) && interval > 0 ? [] : [`interval ${interval}; expected a whole number above 0`]),
    ...(floor >= 0 && floor <= (initial ?? floor) ? [] : [`floor ${floor}; expected a number from 0 to initial`]),
  ];
  if (faults.length > 0)
    throw new FinetuneError('bad-option', 'dynamicLossScale', `got ${faults.join('; ')}. Leave an option out for its default.`);
  return { kind: 'dynamic', initial: Math.fround(initial), growth, backoff, interval, floor };
}

/**
 * S that never changes; a step whose gradients are not finite is skipped all the same. 128 to 1024 is common.
 *
 * @throws FinetuneError `bad-option`
 */
export function fixedLossScale(scale: number): LossScale {
  if (!isScale(scale))
    throw new FinetuneError('bad-option', 'fixedLossScale', `got ${scale}; expected a finite number above 0, such as 1024.`);
  return { kind: 'fixed', scale: Math.fround(scale) };
}

const isScale = (value: number): boolean => value > 0 && Number.isFinite(Math.fround(value)) && Math.fround(value) > 0;

export const firstState = (of: LossScale): LossScaleState => ({ scale: of.kind === 'fixed' ? of.scale : of.initial, finiteSteps: 0 });

/** The state after a step with finite gradients, or after one without. */
export function nextState(of: LossScale, { scale, finiteSteps }: LossScaleState, finite: boolean): LossScaleState {
  if (of.kind === 'fixed') return { scale, finiteSteps: 0 };
  if (!finite) return { scale: Math.max(Math.fround(scale * of.backoff), of.floor), finiteSteps: 0 };
  if (finiteSteps + 1 < of.interval) return { scale, finiteSteps: finiteSteps + 1 };
  const grown = Math.fround(scale * of.growth);
  return { scale: Number.isFinite(grown) ? grown : scale, finiteSteps: 0 };
}
