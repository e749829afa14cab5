/**
 * Named adapters on one base: which of them run, with what weight, and whether they are folded into the kernels meanwhile.
 *
 * All low-rank techniques that are attached to a model share one set. A site is replaced once, and runs the active adapters in turn:
 *
 *   y = W∗x + Σ weight · (what the adapter adds)
 */
import type * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import type { Linear, ModelView } from '../technique.ts';
import { AdapterSet } from './adapter-set.ts';
import type { Factors } from './factor-adapter.ts';
import type { LowRankSite } from './low-rank-sites.ts';

/** One adapter at one site. */
export interface SiteAdapter {
  /** What it makes of y = W∗x + bias. */
  apply(x: tf.Tensor, y: tf.Tensor, linear: Linear): tf.Tensor;
  /** What merging adds to the kernel, in its shape. A new tensor. */
  delta(): tf.Tensor;
  /** delta = down·up, where there are such; new tensors, down [dIn, r], up [r, dOut]. */
  readonly factors?: (() => Factors) | undefined;
  dispose(): void;
}

/** What is told of an adapter in the set, and what it is weighed by. */
export type Weights = { readonly [adapter: string]: number };

/** The named adapters of a model that is being tuned. */
export interface Adapters {
  readonly names: readonly string[];
  /** Those that run, with their weights. */
  readonly active: Weights;
  /** Runs these alone, each with weight 1 or its own; `[]` is the base. What is not active does not train. */
  use(which: string | readonly string[] | Weights): void;
  /** Where an adapter sits. */
  sites(name: string): readonly LowRankSite[];
  /** The factors of an adapter by site name; new tensors. @throws FinetuneError `no-match`, `bad-option` (one that is more than a product, as DoRA) */
  factors(name: string): { readonly [site: string]: Factors };
  /** Adds a frozen adapter, by site name. Takes its tensors over. Not active at first. */
  add(name: string, factors: { readonly [site: string]: Factors }): void;
  /** Adds Σ weight · adapter as one frozen adapter, exactly: its ranks are the sums of theirs. */
  combine(name: string, weights: Weights): void;
  /** Deletes one that was added here. Those of techniques leave with them. */
  delete(name: string): void;
  /** Folds the active ones into the kernels, for speed, until `unmerge` puts back what was there, bit for bit. Nothing trains meanwhile. */
  merge(): void;
  unmerge(): void;
}

const sets = new WeakMap<object, AdapterSet>();

/**
 * The adapters of a model to which a low-rank technique is attached.
 *
 * @throws FinetuneError `bad-model` if there is none
 *
 * @example
 * const tuned = finetune(model, [lora({ r: 8, adapter: 'melville' }), lora({ r: 8, adapter: 'austen' })]);
 * adaptersOf(model).use({ melville: 0.5, austen: 0.5 });
 */
export function adaptersOf(model: object): Adapters {
  const set = sets.get(model);
  if (set) return set;
  throw new FinetuneError(
    'bad-model',
    'adaptersOf',
    'got a model without low-rank adapters; expected one that finetune gave some. Call it after finetune.',
  );
}

/** What a technique gets for an adapter of its own. */
export interface Membership {
  /** Runs now, and is not folded into the kernels. */
  readonly active: boolean;
  /** Folds it into the kernels for good, with its weight. */
  merge(): void;
  leave(): void;
}

/** Adds a technique's adapter, active, to the set of a model. @throws FinetuneError `conflict` if the name is taken */
export function join(model: ModelView, name: string, adapters: ReadonlyMap<LowRankSite, SiteAdapter>, who: string): Membership {
  const key = model.model as object;
  const set = sets.get(key) ?? new AdapterSet(model, () => sets.delete(key));
  sets.set(key, set);
  return set.join(name, adapters, who);
}
