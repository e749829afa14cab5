/** Which batch norms of a model a mode is for. */
import { FinetuneError, type ModelView, type Site } from '@leantune/core';

export interface ModeOptions {
  /** Names of batch norms, or their last segments. @default all */
  readonly targets?: string | readonly string[];
}

/** Sites of batch norms. @throws FinetuneError `no-match`, `bad-option` (targets that are no batch norms), `bad-model` */
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
  return chosen;
}

/** Plain data for adapter files. */
export const optionsOf = ({ targets }: ModeOptions): { readonly targets?: string | readonly string[] } =>
  targets === undefined ? {} : { targets };
