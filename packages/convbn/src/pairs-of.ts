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
}

/** Which batch norms of a model fold into the layer before, and why the others do not. `String(report)` lists them. */
export interface PairReport {
  readonly pairs: readonly { readonly conv: string; readonly norm: string }[];
  readonly left: readonly LeftNorm[];
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
  const { pairs, left } = planOf(model, 'pairsOf');
  return { pairs: pairs.map(({ conv, norm }) => ({ conv, norm })), left, toString: () => describe({ pairs, left }).join('\n') };
}

/** One line for those that fold, one for each that does not. */
export function describe({ pairs, left }: Plan): readonly string[] {
  const total = pairs.length + left.length;
  return [`${pairs.length} of ${total} batch norms fused`, ...left.map(({ norm, reason }) => `${norm} not fused: ${reason}`)];
}
