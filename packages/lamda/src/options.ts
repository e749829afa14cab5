/** What LaMDA and LaMDA++ can be told, and what it comes to. */
import { FinetuneError, type SiteFilter } from '@leantune/core';
import { checkRanges, count, fraction, type KnownSvds, positive } from '@leantune/core/low-rank';
import type { FreezingOptions } from './freezing.ts';
import type { Init } from './initial-factors.ts';

export interface LamdaOptions extends FreezingOptions {
  /** r, at most min(dIn, dOut) of every target. @default 8 */
  readonly rank?: number;
  /** α: the path is scaled by α / r. @default the rank: a scale of 1 */
  readonly alpha?: number;
  /** Dense, conv and embedding sites. @default all dense sites that are at least `rank` wide on both sides */
  readonly targets?: SiteFilter;
  /** Ranks by exact site name; these sites alone are adapted. What `lamdaPlusPlus` chooses, and what files hold. @default `rank` everywhere */
  readonly ranks?: { readonly [site: string]: number };
  /** What S and B begin with. @default 'zero' */
  readonly init?: Init;
  /** Of A∗x, in training. [0, 1). @default 0 */
  readonly dropout?: number;
  /** SVDs that are known already, from `decompose`; 'saved', as files have it: none, what is loaded next holds A, S and B. @default computed when attached */
  readonly svd?: KnownSvds;
  /** The adapter's name in `adaptersOf(model)`. @default 'default' */
  readonly adapter?: string;
}

/** Options with their defaults, as JSON. */
export interface Settled extends Required<FreezingOptions> {
  readonly [key: string]: string | number;
  readonly rank: number;
  readonly alpha: number;
  readonly init: Init;
  readonly dropout: number;
  readonly adapter: string;
}

const inits: readonly string[] = ['zero', 'principal', 'lora-xs'] satisfies Init[];

/** @throws FinetuneError `bad-option` with every number that is out of its range */
export function settled(options: LamdaOptions, who: string): Settled {
  const { rank = 8, alpha = rank, steps = 1000, freezeFraction = 0.3, dropout = 0, init = 'zero', adapter = 'default' } = options;
  checkRanges(
    who,
    [count, { rank, steps }],
    [fraction, { dropout }],
    [positive, alpha === rank ? {} : { alpha }],
    [['a number from 0 to 1', (x) => x >= 0 && x <= 1], { freezeFraction }],
  );
  if (!inits.includes(init))
    throw new FinetuneError('bad-option', who, `got init "${init}"; expected ${inits.map((name) => `"${name}"`).join(', ')}.`);
  return { rank, alpha, init, steps, freezeFraction, dropout, adapter };
}
