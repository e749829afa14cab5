/**
 * S2A in one line: the three modules, and what does not train waiting in 4 bits. "A Unified Framework for Parameter and Memory
 * Efficient Transfer Learning", arXiv 2503.08154. How the paper puts its modules together is not public; this is our choice.
 */
import type { Technique } from '@leantune/core';
import { biasTuning } from './bias-tuning.ts';
import { type FourBitOptions, fourBit } from './four-bit.ts';
import { type LiteSideBranchOptions, liteSideBranch } from './lite-side-branch.ts';
import { type LowRankPromptOptions, lowRankPrompt } from './low-rank-prompt.ts';

/** Options of {@link s2a}. */
export interface S2AOptions {
  /** Train the biases. @default true */
  readonly bias?: boolean;
  /** Options of the low-rank prompt; false leaves it out. @default { rank: 4 } */
  readonly prompt?: LowRankPromptOptions | false;
  /** Options of the lite side branch; false leaves it out. @default { width: 32 } */
  readonly side?: LiteSideBranchOptions | false;
  /** How the rest waits; false: as it is. @default 4 bits */
  readonly fourBit?: FourBitOptions | false;
}

/**
 * The techniques to hand to `finetune`: an adapter file names each of them.
 *
 * @example
 * const tuned = finetune(model, s2a(), { trainable: 'head' });
 */
export function s2a({ bias = true, prompt = {}, side = {}, fourBit: bits = {} }: S2AOptions = {}): readonly Technique[] {
  return [
    ...(bias ? [biasTuning()] : []),
    ...(prompt ? [lowRankPrompt(prompt)] : []),
    ...(side ? [liteSideBranch(side)] : []),
    ...(bits ? [fourBit(bits)] : []),
  ];
}
