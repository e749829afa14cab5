/**
 * Train mode: batch norms with the statistics of the batch, which move the moving ones; also those none of whose weights train,
 * which `finetune` otherwise runs with frozen statistics.
 *
 *   z = γ (y − mean y) / √(var y + ε) + β        μ ← m·μ + (1 − m)·mean y,  σ² likewise
 */
import { FinetuneError, type Technique } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { type Notes, replaceNorm } from './fuse.ts';
import { type ModeOptions, normsOf, optionsOf } from './norms.ts';

/** @throws FinetuneError when attached: `no-match`, `bad-option`, `bad-model` (a GraphModel, plain variables) */
export function trainMode(options: ModeOptions = {}): Technique {
  return {
    name: 'trainMode',
    options: optionsOf(options),
    attach(model): Notes {
      if (model.kind === 'graph')
        throw new FinetuneError(
          'bad-model',
          'trainMode',
          'got a GraphModel, whose batch norms have frozen statistics for good; expected a LayersModel. Use tuneMode or evalMode.',
        );
      const norms = normsOf(model, options.targets, 'trainMode');
      const undos = norms.map((site) => replaceNorm(site, differentiating));
      return { notes: [`${norms.length} batch norms with statistics of the batch`], detach: () => undos.forEach((undo) => undo()) };
    },
  };
}

/** True in a step, false in predict. */
const differentiating = (): boolean => tf.engine().state.gradientDepth > 0;
