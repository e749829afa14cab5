/** What is compared, and the learning rates that a search tries for each. */
import type { Technique } from '@leantune/core';
import type { Decomposition } from '@leantune/core/low-rank';
import { type LamdaOptions, lamda, lamdaPlusPlus } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import type { Task } from './compare.ts';

export interface Method {
  readonly make: (seed: number) => Technique;
  /** Highest rates of a run, in rising order. */
  readonly rates: readonly number[];
}

export const RANK = 8;

/** B trains for 15 % of the run, where the default is 30 %: on models this narrow that is what it takes to move 17.7 times fewer numbers than LoRA. */
export function methodsOf({ targets, settings: { steps } }: Task, svd: Decomposition): { readonly [method: string]: Method } {
  const shared = { targets, svd, steps, freezeFraction: 0.15, init: 'lora' } as const;
  const rates = [5e-3, 1e-2, 2e-2];
  const narrow = (more: LamdaOptions = {}): Method => ({ make: () => lamda({ rank: RANK, ...shared, ...more }), rates });
  return {
    LoRA: { make: (seed) => lora({ r: RANK, lora_alpha: 2 * RANK, targets, seed }), rates: [1e-3, 3e-3, 1e-2] },
    LaMDA: narrow(),
    'LaMDA++': { make: () => lamdaPlusPlus({ averageRank: RANK, ...shared }), rates },
    'LaMDA, η = 0.3': narrow({ freezeFraction: 0.3 }),
    "LaMDA, 'zero'": narrow({ init: 'zero' }),
    "LaMDA, 'principal'": narrow({ init: 'principal' }),
  };
}
