/** Which batch norms of a model a mode is for. */
import { FinetuneError, type ModelView, type Site } from '@leantune/core';

/** What the modes of a batch norm can be told. */
export interface ModeOptions {
  /** Names of batch norms, or their last segments. @default all */
  readonly targets?: string | readonly string[];
}

/**
 * Sites of batch norms.
 *
 * @throws FinetuneError `no-match`, `bad-option` (targets that are no batch norms), `bad-model`, `conflict` (norms that a technique
 *   before this one runs: neither would know what the other has folded)
 */
export function normsOf(model: ModelView, targets: ModeOptions['targets'], who: string): readonly Site[] {
  if (model.kind === 'variables')
    throw new FinetuneError(
      'bad-model',
      who,
      'got variables by name; expected a LayersModel or a GraphModel. Call foldWeights in the loss instead.',
    );
  const chosen = targets === undefined ? model.sites().filter(({ kind }) => kind === 'batchNorm') : model.sites(targets, who);
  const others = chosen.filter(({ kind }) => kind !== 'batchNorm').map(({ name, type }) => `"${name}" (${type})`);
  if (others.length > 0)
    throw new FinetuneError('bad-option', who, `targets select ${others.join(', ')}; expected batch norms alone. Name those.`);
  if (chosen.length === 0)
    throw new FinetuneError('no-match', who, 'found no batch norm in this model; expected at least one. Leave the technique out.');
  const taken = chosen.filter(({ replaced }) => replaced).map(({ name }) => `"${name}"`);
  if (taken.length > 0)
    throw new FinetuneError(
      'conflict',
      who,
      `another technique runs ${taken.length} of these batch norms already (${taken.slice(0, 3).join(', ')}${taken.length > 3 ? ', …' : ''}). Give each norm one mode, and put modes before other techniques.`,
    );
  return chosen;
}

/** Plain data for adapter files. */
export const optionsOf = ({ targets }: ModeOptions): { readonly targets?: string | readonly string[] } =>
  targets === undefined ? {} : { targets };
