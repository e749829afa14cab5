/** Rotary positions as `config.json` describes them, before and since version 5 of transformers. */
import { FinetuneError } from '@leantune/core';
import type { RopeConfig, RopeScaling } from '../layers/index.ts';
import type { ConfigReader, RawConfig } from './config.ts';

type Fields = { readonly [field: string]: number | string | null | undefined };

/** The longest text; where positions are stretched, `max_position_embeddings` may be that of before or after. */
export function longestText(raw: RawConfig, { scaling }: RopeConfig): number | undefined {
  const { max_position_embeddings: most } = raw;
  return typeof most === 'number' ? most * Math.max(1, scaling?.factor ?? 1) : undefined;
}

export function readRope({ raw, type }: ConfigReader): RopeConfig {
  const since5 = raw['rope_parameters'] as Fields | undefined;
  const fields = since5 ?? (raw['rope_scaling'] as Fields | undefined) ?? {};
  const theta = Number(since5?.['rope_theta'] ?? raw['rope_theta'] ?? 10_000);
  const kind = fields['rope_type'] ?? fields['type'] ?? 'default';
  if (kind === 'default') return { theta };
  const faults: string[] = [];
  const number = (field: string, fallback?: number): number => {
    const value = fields[field] ?? fallback;
    if (typeof value === 'number') return value;
    faults.push(field);
    return 1;
  };
  const original = (fallback?: unknown) => number('original_max_position_embeddings', fallback as number | undefined);
  const read: { [kind: string]: () => RopeScaling } = {
    linear: () => ({ type: 'linear', factor: number('factor') }),
    llama3: () => ({
      type: 'llama3',
      factor: number('factor'),
      lowFactor: number('low_freq_factor'),
      highFactor: number('high_freq_factor'),
      original: original(),
    }),
    yarn: () => ({
      type: 'yarn',
      factor: number('factor'),
      original: original(raw['max_position_embeddings']),
      betaFast: number('beta_fast', 32),
      betaSlow: number('beta_slow', 1),
      magnitude: number('attention_factor', 0.1 * Math.log(number('factor')) + 1),
    }),
  };
  const scaling = read[kind]?.();
  const problem = scaling ? `lacks ${faults.join(', ')}` : `is not one of default, ${Object.keys(read).join(', ')}`;
  if (scaling && faults.length === 0) return { theta, scaling };
  throw new FinetuneError(
    'bad-model',
    'transformers',
    `config.json of "${type}": rope scaling "${kind}" ${problem}. Use another checkpoint.`,
  );
}
