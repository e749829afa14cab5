/**
 * LeanTune's levers by name, and what a stack of them gives `finetune`. `full` is the model as a user of tfjs writes it, under our tape;
 * `blocks` the same transformer as @leantune/transformers builds it. The order of the words says how a stack grew, not the order of the
 * techniques, which is that of the list below.
 */
import { tuneMode } from '@leantune/convbn';
import type { FinetuneOptions, SiteFilter, Technique } from '@leantune/core';
import { lamda } from '@leantune/lamda';
import { lora } from '@leantune/lora';
import { mixedPrecision } from '@leantune/mixed-precision';
import { biasTuning, fourBit, liteSideBranch, lowRankPrompt } from '@leantune/s2a';

export const RANK = 8;

/** The sites of a model that matter here. */
export interface Places {
  /** Trains beside every adapter; undefined where the model has no head of its own. */
  readonly head: SiteFilter | undefined;
  /** Gets low-rank adapters. */
  readonly adapted: SiteFilter;
}

export interface Stack {
  readonly techniques: readonly Technique[];
  readonly options: FinetuneOptions;
  /** Whether the model is that of @leantune/transformers. */
  readonly blocks: boolean;
}

const techniques: { readonly [lever: string]: (places: Places) => Technique } = {
  tune: () => tuneMode(),
  biases: () => biasTuning(),
  prompt: () => lowRankPrompt({ rank: 4 }),
  side: () => liteSideBranch({ width: 32 }),
  lora: ({ adapted }) => lora({ r: RANK, lora_alpha: RANK, targets: adapted }),
  dora: ({ adapted }) => lora({ r: RANK, lora_alpha: RANK, targets: adapted, use_dora: true }),
  lamda: ({ adapted }) => lamda({ rank: RANK, targets: adapted }),
  'lamda-frozen': ({ adapted }) => lamda({ rank: RANK, targets: adapted, freezeFraction: 0 }), // as in the last 70 % of a run
  '4bit': () => fourBit(),
  '8bit': () => fourBit({ bits: 8 }),
  mixed: () => mixedPrecision(),
  'mixed-bfloat16': () => mixedPrecision({ policy: 'mixed_bfloat16' }),
};
const others = ['full', 'blocks', 'head', 'checkpoint'];
/** With these only the head and what they bring train. */
const partial = ['head', 'biases', 'prompt', 'side', 'lora', 'dora', 'lamda', 'lamda-frozen'];

export function stackOf(method: string, places: Places): Stack {
  const words = method.split(' + ');
  const unknown = words.filter((word) => !(word in techniques) && !others.includes(word));
  if (unknown.length > 0)
    throw new Error(`[compare] got lever ${unknown.join(', ')}; expected some of ${[...others, ...Object.keys(techniques)].join(', ')}.`);
  const some = words.some((word) => partial.includes(word));
  return {
    techniques: Object.entries(techniques)
      .filter(([lever]) => words.includes(lever))
      .map(([, make]) => make(places)),
    options: { checkpoint: words.includes('checkpoint'), ...(some && places.head && { trainable: places.head }) },
    blocks: words.includes('blocks'),
  };
}
