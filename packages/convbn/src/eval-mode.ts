/**
 * Eval mode: batch norms with frozen statistics, whose γ and β train.
 *
 *   z = γ (y − μ) / √(σ² + ε) + β        μ, σ² the moving statistics, as they are
 *
 * What Tune mode computes, in two passes and with y kept for dγ. You et al. 2023, arXiv 2305.11624, table 2. In tfjs alone a batch
 * norm follows the `training` argument of the call, which `fit` sets, so that there is no such mode. A GraphModel has no other.
 */
import type { Attachment, Technique } from '@leantune/core';
import { freezeNorm } from './fuse.ts';
import { type ModeOptions, normsOf, optionsOf } from './norms.ts';

/** @throws FinetuneError when attached: `no-match`, `bad-option`, `bad-model` (plain variables), `conflict` (another mode) */
export function evalMode(options: ModeOptions = {}): Technique {
  return {
    name: 'evalMode',
    options: optionsOf(options),
    attach(model): Attachment {
      const norms = normsOf(model, options.targets, 'evalMode');
      const undos = norms.map(freezeNorm);
      return { notes: [`${norms.length} batch norms with frozen statistics`], detach: () => undos.forEach((undo) => undo()) };
    },
  };
}
