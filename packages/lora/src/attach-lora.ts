/** LoRA on a model: an adapter per site, and modules that train whole. */
import { type Attachment, FinetuneError, type Json, type ModelView, type SavedState, type SiteWeight } from '@leantune/core';
import { join, type LowRankSite, matrixShape, svdOf } from '@leantune/core/low-rank';
import * as tf from '@tensorflow/tfjs-core';
import { type LoraOptions, patternOf, type Settled } from './config.ts';
import { initialFactors, principalFactors } from './initial-factors.ts';
import { LoraAdapter } from './lora-adapter.ts';
import { isSaved, moduleOf, targetSites } from './target-modules.ts';

/** What `exportPeft` writes. */
export interface AttachedLora {
  readonly config: Settled;
  readonly adapters: ReadonlyMap<LowRankSite, LoraAdapter>;
  readonly saved: readonly SavedModule[];
}

/** A module that trains whole. */
export interface SavedModule {
  readonly module: string;
  readonly weights: readonly SiteWeight[];
}

const attached = new WeakMap<object, Map<string, AttachedLora>>();

export const attachedLora = (model: object, adapter: string): AttachedLora | undefined => attached.get(model)?.get(adapter);

export function attachLora(model: ModelView, config: Settled, options: LoraOptions): Attachment {
  const sites = targetSites(model, options);
  const saved = savedModules(model, config.modules_to_save);
  const adapters = makeAdapters(sites, config, options);
  const leave = () => {
    for (const one of adapters.values()) one.dispose();
  };
  let member: ReturnType<typeof join>;
  try {
    member = join(model, config.adapter, adapters, 'lora');
  } catch (error) {
    leave();
    throw error;
  }
  const key = model.model as object;
  attached.set(key, (attached.get(key) ?? new Map()).set(config.adapter, { config, adapters, saved }));
  const weights = saved.flatMap((module) => module.weights.map((w) => w.variable()));
  const names = sites.map((site) => moduleOf(site).replace(/[$()*+.?[\\\]^{|}]/g, '\\$&'));
  return {
    get variables() {
      return member.active ? [...[...adapters.values()].flatMap(({ variables }) => variables), ...weights] : [];
    },
    options: { ...config, target_modules: names.join('|'), ...(isPrincipal(config) && { svd: 'saved' }) } as Json,
    notes: [`${adapters.size} sites with rank ${[...new Set([...adapters.values()].map(({ path }) => path.rank))].join(', ')}`],
    saved: stateOf(adapters, saved),
    merge: () => member.merge(),
    detach() {
      attached.get(key)?.delete(config.adapter);
      member.leave();
      leave();
    },
  };
}

function savedModules(model: ModelView, names: readonly string[]): readonly SavedModule[] {
  const found = model
    .sites()
    .filter((site) => site.weights.length > 0 && isSaved(names, moduleOf(site)))
    .map((site) => ({ module: moduleOf(site), weights: site.weights }));
  const missing = names.filter((name) => !found.some(({ module }) => isSaved([name], module)));
  if (missing.length > 0)
    throw new FinetuneError('no-match', 'lora', `modules_to_save names ${missing.join(', ')}, which this model has not.`);
  return found;
}

/** r of a site. */
export const rankOf = (site: LowRankSite, { r, rank_pattern }: Settled): number => patternOf(rank_pattern, moduleOf(site)) ?? r;

const isPrincipal = ({ init_lora_weights: init }: Settled): boolean => String(init).startsWith('pissa');

function makeAdapters(sites: readonly LowRankSite[], config: Settled, { svd }: LoraOptions): Map<LowRankSite, LoraAdapter> {
  const { lora_alpha, alpha_pattern, use_rslora, use_dora, lora_dropout, init_lora_weights, seed, adapter } = config;
  const principal = isPrincipal(config);
  const prefix = adapter === 'default' ? '' : `${adapter}/`;
  const plans = sites.map((site) => {
    const rank = rankOf(site, config);
    const alpha = patternOf(alpha_pattern, moduleOf(site)) ?? lora_alpha;
    return { site, rank, scale: alpha / (use_rslora ? Math.sqrt(rank) : rank) };
  });
  const faults = plans.filter(({ site, rank }) => principal && rank > Math.min(...matrixShape(site)));
  if (faults.length > 0) {
    const named = faults.map(({ site, rank }) => `"${site.name}" (${rank} of ${Math.min(...matrixShape(site))})`).join(', ');
    throw new FinetuneError(
      'bad-option',
      'lora',
      `'pissa' needs ranks up to min(dIn, dOut); these are larger: ${named}. Use a smaller r or rank_pattern.`,
    );
  }
  const adapters = new Map<LowRankSite, LoraAdapter>();
  for (const [i, { site, rank, scale }] of plans.entries()) {
    const factors = principal
      ? principalFactors(svdOf(site, rank, svd), site, rank, scale)
      : initialFactors(init_lora_weights, site, rank, seed + i);
    const path = { rank, scale, dropout: lora_dropout, dora: use_dora, principal };
    adapters.set(site, new LoraAdapter(site, factors, path, prefix + site.name));
  }
  return adapters;
}

function stateOf(adapters: ReadonlyMap<LowRankSite, LoraAdapter>, saved: readonly SavedModule[]): SavedState {
  const weights = () => saved.flatMap((module) => module.weights).map((w) => [`whole/${w.name}`, w.variable()] as const);
  return {
    read: () => ({
      ...Object.fromEntries(
        [...adapters].flatMap(([site, one]) => Object.entries(one.read()).map(([part, t]) => [`${site.name}/${part}`, t])),
      ),
      ...Object.fromEntries(weights().map(([name, v]) => [name, tf.clone(v)])),
    }),
    write(tensors) {
      for (const [site, one] of adapters) {
        const parts = ['lora_A', 'lora_B', 'lora_magnitude_vector', 'minus_A', 'minus_B'];
        one.write(Object.fromEntries(parts.map((part) => [part, tensors[`${site.name}/${part}`]!])));
      }
      for (const [name, v] of weights()) v.assign(tensors[name]!);
    },
  };
}
