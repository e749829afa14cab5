/**
 * Train mode: batch norms with the statistics of the batch, which move the moving ones. The other modes are compared with it.
 *
 *   z = γ (y − mean y) / √(var y + ε) + β        μ ← m·μ + (1 − m)·mean y,  σ² likewise
 *
 * It is what `fit` of tfjs and `finetune` without a technique do, so it puts nothing in place: it says so in files and summaries,
 * and refuses models that cannot. A batch norm none of whose weights train has frozen statistics under `finetune`, here as well.
 */
import { type Attachment, FinetuneError, type Technique } from '@leantune/core';
import { normsOf } from './norms.ts';

/** @throws FinetuneError when attached: `no-match`, `bad-model` (a GraphModel, plain variables), `conflict` (another mode) */
export function trainMode(): Technique {
  return {
    name: 'trainMode',
    options: {},
    attach(model): Attachment {
      if (model.kind === 'graph')
        throw new FinetuneError(
          'bad-model',
          'trainMode',
          'got a GraphModel, whose batch norms have frozen statistics for good; expected a LayersModel. Use tuneMode or evalMode.',
        );
      const norms = normsOf(model, undefined, 'trainMode');
      return { notes: [`${norms.length} batch norms, with statistics of the batch where they train`], detach() {} };
    },
  };
}
