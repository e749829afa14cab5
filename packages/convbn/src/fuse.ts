/** Puts what was found in a model in place: pairs as one convolution each, all other norms with frozen statistics. */
import type { ModelView, Site, Undo } from '@leantune/core';
import { type ModeOptions, normsOf } from './norms.ts';
import type { Pair } from './pair.ts';
import { type LeftNorm, type Plan, planOf } from './pairs-of.ts';
import { type Norm, runFrozen } from './tfjs-layers.ts';

/** A pair with the sites of its two halves. */
export interface SitedPair {
  readonly pair: Pair;
  readonly conv: Site;
  readonly norm: Site;
}

export interface SitedPlan {
  readonly pairs: readonly SitedPair[];
  readonly left: readonly (LeftNorm & { readonly site: Site })[];
  readonly folded: Plan['folded'];
}

/** The pairs whose norms `targets` select, and the selected norms that are in none. @throws as `normsOf` and `planOf` */
export function sitedPlan(model: ModelView, { targets }: ModeOptions, who: string): SitedPlan {
  const sites = model.sites();
  const plan: Plan = model.kind === 'variables' ? { pairs: [], left: [], folded: [] } : planOf(model.model as never, who, sites);
  const chosen = new Set(normsOf(model, targets, who).map(({ name }) => name));
  const byName = new Map(sites.map((site) => [site.name, site]));
  return {
    pairs: plan.pairs
      .filter(({ norm }) => chosen.has(norm))
      .map((pair) => ({ pair, conv: byName.get(pair.conv)!, norm: byName.get(pair.norm)! })),
    left: plan.left.filter(({ norm }) => chosen.has(norm)).map((one) => ({ ...one, site: byName.get(one.norm)! })),
    folded: plan.folded,
  };
}

/** Runs a norm with frozen statistics. Those of a GraphModel are frozen as they are. */
export function freezeNorm(site: Site): Undo {
  const norm = site.layer as Norm | undefined;
  return norm ? site.replace((x) => runFrozen(norm, x)) : () => {};
}
