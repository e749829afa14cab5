/** Finds the pairs of a model. */
import type { Site } from '@leantune/core';
import type { GraphModel } from '@tensorflow/tfjs-converter';
import type { LayersModel } from '@tensorflow/tfjs-layers';
import { graphPlan } from './graph-pairs.ts';
import { layersPlan } from './layers-pairs.ts';
import type { Pair } from './pair.ts';
import type { Container } from './tfjs-layers.ts';

/** A batch norm that stays, and why. */
export interface LeftNorm {
  readonly norm: string;
  readonly reason: string;
}

export interface Plan<P extends Pair = Pair> {
  readonly pairs: readonly P[];
  readonly left: readonly LeftNorm[];
  /** Convolutions of a graph with a bias inside and no norm behind: what the converter makes of a pair. */
  readonly folded: readonly string[];
}

/** Which batch norms of a model fold into the layer before, and why the others do not. `String(report)` lists them. */
export interface PairReport {
  readonly pairs: readonly { readonly conv: string; readonly norm: string }[];
  readonly left: readonly LeftNorm[];
  /** Convolutions into which the converter of a graph has folded their norms; empty for a LayersModel. */
  readonly folded: readonly string[];
  toString(): string;
}

/** @throws FinetuneError `bad-model` for a graph whose batch norms are folded already */
export function planOf(model: LayersModel | GraphModel, who: string, sites: readonly Site[] = []): Plan {
  return 'layers' in model ? layersPlan(model as unknown as Container) : graphPlan(model, who, sites);
}

/**
 * Finds the pairs without changing the model.
 *
 * @throws FinetuneError `bad-model` for a graph whose batch norms are folded already
 */
export function pairsOf(model: LayersModel | GraphModel): PairReport {
  const plan = planOf(model, 'pairsOf');
  const { left, folded } = plan;
  return { pairs: plan.pairs.map(({ conv, norm }) => ({ conv, norm })), left, folded, toString: () => describe(plan).join('\n') };
}

/** One line for those that fold, one for each that does not, and one for those that somebody else has folded. */
export function describe({
  pairs,
  left,
  folded,
}: Pick<Plan, 'left' | 'folded'> & { readonly pairs: readonly unknown[] }): readonly string[] {
  const fused = `${pairs.length} of ${pairs.length + left.length} batch norms fused`;
  const before = `${folded.length} convolutions with a bias inside ("${folded[0]}" is the first), as the converter folds batch norms: what is folded trains as in Deploy mode`;
  return [fused, ...left.map(({ norm, reason }) => `${norm} not fused: ${reason}`), ...(folded.length > 0 ? [before] : [])];
}
