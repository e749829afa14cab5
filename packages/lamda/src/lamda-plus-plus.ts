/**
 * LaMDA++: LaMDA with a rank of its own for every site, read off the spectra of the pretrained weights before training.
 *
 * Azizi, Kundu & Pedram 2024, arXiv 2406.12832; the rule is in `allocate.ts`.
 */
import { FinetuneError, type ModelView, type Technique } from '@leantune/core';
import { type Decomposition, type LowRankSite, matrixShape, svdOf, type TruncatedSvd } from '@leantune/core/low-rank';
import { allocateRanks, type Budget, candidateRanks, type Spectrum } from './allocate.ts';
import { attachLamda } from './attach-lamda.ts';
import { type LamdaOptions, settled } from './options.ts';
import { type RankPlan, rankPlan } from './rank-plan.ts';
import { candidates, type SiteRanks, siteRanks } from './site-ranks.ts';

/** Options of {@link lamdaPlusPlus}. */
export interface LamdaPlusPlusOptions extends Omit<LamdaOptions, 'rank'>, Budget {}

/**
 * As `lamda`, with ranks between half and twice `averageRank`, within the budget. Files hold the ranks, so that they are not chosen again.
 *
 * @throws FinetuneError as `lamda`
 *
 * @example
 * const tuned = finetune(model, lamdaPlusPlus({ averageRank: 16, steps: 600 }));
 */
export function lamdaPlusPlus(options: LamdaPlusPlusOptions = {}): Technique {
  const who = 'lamdaPlusPlus';
  const { averageRank = 8, budget } = options;
  const plain = { ...settled({ ...options, rank: averageRank }, who), averageRank, ...(budget !== undefined && { budget }) };
  return {
    name: who,
    options: plain,
    attach(model) {
      const chosen: ChosenRanks = options.ranks ? siteRanks(model, options, who) : chosenRanks(model, options, who);
      const { svd = chosen.svd } = options;
      return attachLamda(model, who, chosen, plain, svd ? { ...options, svd } : options);
    },
  };
}

interface ChosenRanks extends SiteRanks {
  readonly svd?: Decomposition;
}

function chosenRanks(model: ModelView, options: LamdaPlusPlusOptions, who: string): ChosenRanks {
  const { averageRank = 8 } = options;
  if (options.svd === 'saved')
    throw new FinetuneError('bad-option', who, "got svd 'saved' without ranks; expected both, as a file has them. Leave svd out.");
  const { sites, notes } = candidates(model, { ...options, rank: candidateRanks(averageRank)[0]! }, who);
  const svd = new Map(sites.map((site) => [site.name, svdOf(site, widest(site, averageRank), options.svd)]));
  const ranks = allocateRanks(
    sites.map((site) => spectrum(site.name, svd.get(site.name)!)),
    options,
  );
  return { ranks: new Map(sites.map((site) => [site, ranks[site.name]!])), notes, svd };
}

const widest = (site: LowRankSite, averageRank: number): number => Math.min(candidateRanks(averageRank).at(-1)!, ...matrixShape(site));

const spectrum = (site: string, { u, v, sigma, energy }: TruncatedSvd): Spectrum => ({ site, dIn: u.rows, dOut: v.rows, sigma, energy });

/**
 * What LaMDA++ would choose, before training.
 *
 * @throws FinetuneError as `decompose`
 *
 * @example
 * const svd = await decompose(model, { rank: 32 });
 * const plan = explainRanks(svd, { averageRank: 16 });
 * console.log(String(plan));
 * await writeFile('ranks.html', plan.toHTML());
 */
export function explainRanks(svd: Decomposition, budget: Budget = {}): RankPlan {
  const spectra = [...svd].map(([site, one]) => spectrum(site, one));
  return rankPlan(allocateRanks(spectra, budget), spectra, budget);
}
