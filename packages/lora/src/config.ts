/**
 * The options of LoRA are peft's, letter by letter: an `adapter_config.json` is an options object. What peft has and this package has not
 * is refused unless it is switched off.
 */
import { FinetuneError, type Json, type SiteFilter } from '@leantune/core';
import { checkRanges, count, fraction, type KnownSvds, positive } from '@leantune/core/low-rank';

/** The fields of peft's LoraConfig that this package serves. */
export interface PeftConfig {
  /** Rank. @default 8 */
  readonly r?: number;
  /** α: the path is scaled by α / r, with `use_rslora` by α / √r. @default 8 */
  readonly lora_alpha?: number;
  /** Of x, in training. [0, 1). @default 0 */
  readonly lora_dropout?: number;
  /** Names of modules or their last segments, a regular expression for the whole name, or 'all-linear'. @default 'all-linear' */
  readonly target_modules?: string | readonly string[] | null;
  /** As `target_modules`; wins over it. */
  readonly exclude_modules?: string | readonly string[] | null;
  /** Indices of layers to adapt, where `target_modules` is a list. */
  readonly layers_to_transform?: number | readonly number[] | null;
  /** The segment before the index: 'layer' in 'encoder.layer.3.attention'. @default any */
  readonly layers_pattern?: string | readonly string[] | null;
  /** Ranks by the end of a name, or a regular expression for it. */
  readonly rank_pattern?: { readonly [pattern: string]: number };
  /** α likewise. */
  readonly alpha_pattern?: { readonly [pattern: string]: number };
  /** Kalajdzievski 2023, arXiv 2312.03732. @default false */
  readonly use_rslora?: boolean;
  /** Weight-decomposed: Liu et al. 2024, arXiv 2402.09353. @default false */
  readonly use_dora?: boolean;
  /** true: A uniform, B zero; 'gaussian': A normal; 'pissa': singular vectors, arXiv 2404.02948. @default true */
  readonly init_lora_weights?: boolean | 'gaussian' | 'pissa' | `pissa_niter_${number}`;
  /** Modules that train whole, and travel with the adapter. */
  readonly modules_to_save?: readonly string[] | null;
}

export interface LoraOptions extends PeftConfig {
  /** Sites, in this project's way; in place of `target_modules`. */
  readonly targets?: SiteFilter;
  /** Of A. @default 0 */
  readonly seed?: number;
  /** SVDs for 'pissa' that are known already, from `decompose`; 'saved', as files have it: none, what is loaded next holds A and B. @default computed when attached */
  readonly svd?: KnownSvds;
  /** The adapter's name in `adaptersOf(model)`. @default 'default' */
  readonly adapter?: string;
}

/** With defaults. */
export type Settled = Required<Pick<LoraOptions, 'r' | 'lora_alpha' | 'lora_dropout' | 'use_rslora' | 'use_dora' | 'seed' | 'adapter'>> & {
  readonly init_lora_weights: NonNullable<PeftConfig['init_lora_weights']>;
  readonly modules_to_save: readonly string[];
  readonly rank_pattern: { readonly [pattern: string]: number };
  readonly alpha_pattern: { readonly [pattern: string]: number };
};

/** Fields of peft that change what is computed, with the values that do not. */
const unserved: { readonly [field: string]: readonly unknown[] } = {
  bias: ['none'],
  lora_bias: [false],
  fan_in_fan_out: [false],
  layer_replication: [],
  target_parameters: [],
  trainable_token_indices: [],
  use_qalora: [false],
  use_bdlora: [],
  alora_invocation_tokens: [],
  megatron_config: [],
};

/** @throws FinetuneError `bad-option` with every field that is out of range or not served */
export function settled(options: LoraOptions): Settled {
  const {
    r = 8,
    lora_alpha = 8,
    lora_dropout = 0,
    use_rslora = false,
    use_dora = false,
    init_lora_weights = true,
    seed = 0,
    adapter = 'default',
  } = options;
  const { modules_to_save, rank_pattern = {}, alpha_pattern = {} } = options;
  checkRanges('lora', [count, { r, ...rank_pattern }], [positive, { lora_alpha, ...alpha_pattern }], [fraction, { lora_dropout }]);
  const faults = Object.entries(unserved).flatMap(([field, off]) => {
    const value = (options as { [field: string]: Json | undefined })[field];
    return value === undefined || value === null || off.includes(value) ? [] : [`${field} = ${JSON.stringify(value)}`];
  });
  if (!(typeof init_lora_weights === 'boolean' || /^(gaussian|pissa(_niter_\d+)?)$/.test(init_lora_weights)))
    faults.push(`init_lora_weights = "${init_lora_weights}"`);
  if (faults.length > 0)
    throw new FinetuneError('bad-option', 'lora', `got ${faults.join(', ')}, which this package does not serve. Leave it out.`);
  return {
    r,
    lora_alpha,
    lora_dropout,
    use_rslora,
    use_dora,
    init_lora_weights,
    seed,
    adapter,
    modules_to_save: modules_to_save ?? [],
    rank_pattern,
    alpha_pattern,
  };
}

/** The value of the first pattern that fits a module, as peft finds it. */
export function patternOf(patterns: { readonly [pattern: string]: number }, module: string): number | undefined {
  return Object.entries(patterns).find(([pattern]) => new RegExp(`^(.*\\.)?(${pattern})$`).test(module))?.[1];
}
