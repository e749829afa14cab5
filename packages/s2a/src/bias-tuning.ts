/**
 * Trains the biases of the parametric layers, and nothing else of them.
 *
 *   y = W x + b        dL/db = Σ dL/dy        dL/dx = Wᵀ dL/dy        neither reads x: the layer keeps nothing
 *
 * The bias module of S2A (arXiv 2503.08154); before it BitFit (arXiv 2106.10199) and TinyTL (arXiv 2007.11622). The offset of a norm is
 * its bias. A batch norm whose offset trains goes on with its moving statistics here, as those of the batch would have to be kept.
 */
import {
  type Attachment,
  FinetuneError,
  type Json,
  type ModelView,
  type Site,
  type SiteFilter,
  type SiteWeight,
  type Technique,
} from '@leantune/core';
import type * as tf from '@tensorflow/tfjs-core';

/** Options of {@link biasTuning}. */
export interface BiasTuningOptions {
  /** Sites whose biases train: names, their last segments, or lists of these. @default all that have one */
  readonly targets?: string | readonly string[];
}

/**
 * @throws FinetuneError when attached: `no-match` (nothing selected has a bias)
 *
 * @example
 * const tuned = finetune(model, [biasTuning(), fourBit()], { trainable: 'head' }); // the new head in full
 */
export function biasTuning({ targets }: BiasTuningOptions = {}): Technique {
  return {
    name: 'biasTuning',
    options: (targets === undefined ? {} : { targets }) as Json,
    attach(model): Attachment {
      const sites = targets === undefined ? model.sites() : model.sites(targets as SiteFilter, 'biasTuning');
      const chosen = sites.flatMap((site) => biasesOf(site, model).map((weight) => ({ site, weight })));
      if (chosen.length === 0) {
        const names = sites
          .slice(0, 6)
          .map(({ name }) => `"${name}"`)
          .join(', ');
        throw new FinetuneError(
          'no-match',
          'biasTuning',
          `got ${names}, none of which has a bias; expected at least one. Widen the targets, or use lowRankPrompt.`,
        );
      }
      const undos = chosen.flatMap(({ site }) => (site.kind === 'batchNorm' && !site.replaced ? (freeze(site) ?? []) : []));
      return {
        variables: chosen.map(({ weight }) => weight.variable()),
        merge() {}, // they are weights of the base already
        detach: () => undos.forEach((undo) => undo()),
      };
    },
  };
}

const named = /(^|[^a-zA-Z])(bias|beta|b|offset)$/i;

function biasesOf({ kind, type, weights, kernel, bias }: Site, model: ModelView): readonly SiteWeight[] {
  if (model.kind !== 'graph') return weights.filter(({ name }) => named.test(name));
  // A node names no roles: its weights are the kernel, then a bias; of a norm the scale, then the offset; of a sum what is added.
  if (/^(BiasAdd|Add|AddV2)$/.test(type)) return weights;
  if (kind === 'batchNorm') return weights.slice(1);
  return kernel && bias ? weights.slice(1, 2) : [];
}

interface Norm {
  readonly constructor: unknown;
}

/** Runs a batch norm of a LayersModel with its moving statistics. Those of a GraphModel are constants. */
function freeze(site: Site): (() => void) | undefined {
  const norm = site.layer as Norm | undefined;
  if (!norm) return undefined;
  const { call } = Object.getPrototypeOf(norm) as { call(inputs: tf.Tensor[], kwargs: object): tf.Tensor };
  return site.replace((x) => call.call(norm, [x], { training: false }));
}
