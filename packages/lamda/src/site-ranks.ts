/** Which sites are adapted, and with what rank. */
import { FinetuneError, type ModelView } from '@leantune/core';
import { denseSites, type LowRankSite, lowRankSites, matrixShape } from '@leantune/core/low-rank';
import type { LamdaOptions } from './options.ts';

export type Ranked = ReadonlyMap<LowRankSite, number>;

export interface SiteRanks {
  readonly ranks: Ranked;
  /** What was left out, for `summary()`. */
  readonly notes: readonly string[];
}

const most = (site: LowRankSite): number => Math.min(...matrixShape(site));
const exactly = (name: string): RegExp => new RegExp(`^${name.replace(/[$()*+.?[\\\]^{|}]/g, '\\$&')}$`);

/** One rank for all, or those that options name. @throws FinetuneError `no-match`, `bad-option` */
export function siteRanks(model: ModelView, options: LamdaOptions, who: string): SiteRanks {
  const { rank = 8, ranks } = options;
  if (ranks) {
    const sites = lowRankSites(model, Object.keys(ranks).map(exactly), who);
    return { ranks: fitting(new Map(sites.map((site) => [site, ranks[site.name]!])), who), notes: [] };
  }
  const { sites, notes } = candidates(model, options, who);
  return { ranks: fitting(new Map(sites.map((site) => [site, rank])), who), notes };
}

/** The sites that `targets` select; without targets all dense ones that are wide enough. */
export function candidates(
  model: ModelView,
  { rank = 8, targets }: LamdaOptions,
  who: string,
): { readonly sites: readonly LowRankSite[]; readonly notes: readonly string[] } {
  if (targets !== undefined) return { sites: lowRankSites(model, targets, who), notes: [] };
  const dense = lowRankSites(model, denseSites, who);
  const sites = dense.filter((site) => most(site) >= rank);
  const left = dense.filter((site) => most(site) < rank).map((site) => `"${site.name}" (${most(site)})`);
  if (sites.length > 0) return { sites, notes: left.length > 0 ? [`left out, narrower than rank ${rank}: ${left.join(', ')}`] : [] };
  const message = `rank ${rank} is larger than min(dIn, dOut) of every dense site: ${left.join(', ')}. Use a smaller rank.`;
  throw new FinetuneError('bad-option', who, message);
}

/** @throws FinetuneError `bad-option` naming every site that its rank does not fit */
function fitting(ranks: Ranked, who: string): Ranked {
  const faults = [...ranks].flatMap(([site, rank]) =>
    rank > most(site) ? [`rank ${rank} is larger than min(dIn, dOut) = ${most(site)} of "${site.name}"`] : [],
  );
  if (faults.length === 0) return ranks;
  throw new FinetuneError('bad-option', who, `${faults.join('; ')}. Use a smaller rank, or leave them out with targets.`);
}
