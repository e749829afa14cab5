/** What is compared, and the learning rate that a search begins with. */
import type { Technique } from '@leantune/core';
import { type Decomposition, decompose, decomposeGradients } from '@leantune/core/low-rank';
import { explainRanks, lamda, lamdaPlusPlus } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import type { Task } from './compare.ts';

export interface Method {
  readonly make: (seed: number) => Promise<Technique>;
  /** The highest learning rate of a run, where none was searched for. */
  readonly rate: number;
  /** Whose trials decide. @default its own */
  readonly rateOf?: string;
}

/** Of a run, whose gradients are summed. */
const BATCHES = 16;

/**
 * LaMDA's ends are singular vectors of the weights, as in the paper; "of gradients", of the gradient of a run's first batches. LaMDA++ has no
 * trials of its own: its variables are LaMDA's, and so is their rate.
 */
export function methodsOf({ model, targets, loss, settings }: Task): { readonly [method: string]: Method } {
  const { rank, freezeFraction, steps } = settings;
  const shared = { targets, steps, freezeFraction };
  const rate = 1e-3;
  const ofWeights = (most: number) => decompose(model, { rank: most, targets });
  const ofGradients = (most: number, seed: number) =>
    decomposeGradients(model, (batch) => loss(batch, seed), { rank: most, targets, batches: BATCHES });
  const plusPlus = (svd: Decomposition) => {
    console.log(`\n${explainRanks(svd, { averageRank: rank })}\n`);
    return lamdaPlusPlus({ averageRank: rank, ...shared, svd });
  };
  return {
    LoRA: { make: async (seed) => lora({ r: rank, lora_alpha: 2 * rank, targets, seed }), rate: 5e-4 },
    LaMDA: { make: async () => lamda({ rank, ...shared, svd: await ofWeights(rank) }), rate },
    'LaMDA++': { make: async () => plusPlus(await ofWeights(2 * rank)), rate, rateOf: 'LaMDA' },
    'LaMDA of gradients': { make: async (seed) => lamda({ rank, ...shared, svd: ofGradients(rank, seed) }), rate },
    'LaMDA++ of gradients': { make: async (seed) => plusPlus(ofGradients(2 * rank, seed)), rate, rateOf: 'LaMDA of gradients' },
  };
}
