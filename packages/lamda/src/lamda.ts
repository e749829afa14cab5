/**
 * LaMDA: a frozen weight gets a narrow way past it, whose wide ends come from the weight's own singular vectors and whose small square
 * middle trains. The far end B trains too at first, and freezes row by row, from the largest singular value on.
 *
 *   y = W∗x + (α/r) · ((A∗x)·S)·B        A [dIn, r] frozen, S [r, r] trained, B [r, dOut] trained while the early steps pass
 *
 * Azizi, Kundu & Pedram 2024, arXiv 2406.12832. What differs: dropout lies behind A, on r numbers instead of dIn, so that no mask of x's
 * width waits; how Σ is split is this package's choice, as the paper leaves it open; frozen rows leave their variable, where the released
 * code zeroes their gradient.
 */
import type { Technique } from '@leantune/core';
import { attachLamda } from './attach-lamda.ts';
import { type LamdaOptions, settled } from './options.ts';
import { siteRanks } from './site-ranks.ts';

/**
 * Trains S, and B while it is not frozen. The base stays as it is; `tuned.merge()` adds (α/r)·A·S·B to it.
 *
 * @throws FinetuneError `bad-option` here; when attached `no-match`, `bad-option` (targets or ranks that do not fit), `conflict` (two
 *   adapters of one name)
 *
 * @example
 * const tuned = finetune(model, lamda({ rank: 32, steps: 600 }));
 */
export function lamda(options: LamdaOptions = {}): Technique {
  const plain = settled(options, 'lamda');
  return {
    name: 'lamda',
    options: plain,
    attach: (model) => attachLamda(model, 'lamda', siteRanks(model, options, 'lamda'), plain, options),
  };
}
