/** What is compared, and the learning rates that a search tries for each. */
import type { Technique } from '@leantune/core';
import type { Decomposition } from '@leantune/core/low-rank';
import { lamda, lamdaPlusPlus } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import type { Task } from './compare.ts';

export interface Method {
  readonly make: (seed: number) => Technique;
  /** Highest rates of a run, in rising order. */
  readonly rates: readonly number[];
  /** Whose trials decide. @default its own */
  readonly ratesOf?: string;
}

export const RANK = 24;
/** Of the run, in which B trains; the default is 0.3. On models this narrow it is what it takes to move 17.7 times fewer numbers than LoRA. */
export const FREEZE_FRACTION = 0.08;

/** LaMDA++ has no trials of its own: its variables are LaMDA's, and so is their rate. */
export function methodsOf({ targets, settings: { steps } }: Task, svd: Decomposition): { readonly [method: string]: Method } {
  const shared = { targets, svd, steps, freezeFraction: FREEZE_FRACTION };
  const narrow = [2e-3, 5e-3];
  return {
    LoRA: { make: (seed) => lora({ r: RANK, lora_alpha: 2 * RANK, targets, seed }), rates: [1e-3, 2e-3] },
    LaMDA: { make: () => lamda({ rank: RANK, ...shared }), rates: narrow },
    'LaMDA++': { make: () => lamdaPlusPlus({ averageRank: RANK, ...shared }), rates: narrow, ratesOf: 'LaMDA' },
  };
}
