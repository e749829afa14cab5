/**
 * Tune mode: a convolution and the batch norm behind it run as one convolution, whose weights are folded anew in every step.
 *
 *   z = w'∗x + b'        k = γ / √(σ² + ε)    w' = w·k    b' = β − (μ − b)·k        μ, σ² the moving statistics, as they are
 *
 * Equal to batch norm with frozen statistics (Eval mode) in forward and in backward; w, b, γ and β train. Eval mode keeps x and
 * w∗x, of the size of z; this keeps x. You, Qin, Bao, Cao, Huang, Shan, Long 2023, arXiv 2305.11624. Different here: w' does not
 * wait either, it is folded again when dx is computed; pairs with zero padding between fold too, with the rest of the norm behind.
 */
import type { Attachment, Technique } from '@leantune/core';
import { recipes } from './folded.ts';
import { freezeNorm, sitedPlan } from './fuse.ts';
import { type ModeOptions, optionsOf } from './norms.ts';
import { replacePair } from './pair.ts';
import { describe } from './pairs-of.ts';

/**
 * Every pair of a convolution or dense layer and a batch norm as one convolution; the other batch norms in Eval mode.
 *
 * @throws FinetuneError when attached: `no-match` (no batch norm), `bad-option` (targets that are none), `bad-model` (plain
 *   variables, a graph that is folded), `conflict` (another mode of the same norm)
 *
 * @example
 * const tuned = finetune(model, tuneMode());
 */
export function tuneMode(options: ModeOptions = {}): Technique {
  return {
    name: 'tuneMode',
    options: optionsOf(options),
    attach(model): Attachment {
      const plan = sitedPlan(model, options, 'tuneMode');
      const { folded, keep } = recipes();
      const undos = [
        ...plan.pairs.map(({ pair, conv, norm }) => replacePair(pair, conv, norm, () => folded(pair), { yields: true })),
        ...plan.left.map(({ site }) => freezeNorm(site)),
      ];
      return {
        keep,
        notes: describe(plan),
        detach: () => undos.forEach((undo) => undo()),
      };
    },
  };
}
