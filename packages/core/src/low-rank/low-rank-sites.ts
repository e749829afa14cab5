/**
 * Where a low-rank adapter fits: sites whose kernel is a matrix [dIn, dOut] once all its axes but the last are one. A convolution
 * [h, w, cIn, cOut] has dIn = h·w·cIn, an embedding [vocabulary, d] has a row per word.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import type { ModelView, Site, SiteFilter } from '../technique.ts';

/** A site that has a kernel, which may be held packed. */
export type LowRankSite = Site & { readonly kernelShape: readonly number[] };

const kinds: ReadonlySet<string> = new Set(['dense', 'conv1d', 'conv2d', 'conv3d', 'embedding']);

/** [dIn, dOut] of a site's kernel. */
export const matrixShape = ({ kernelShape }: LowRankSite): [dIn: number, dOut: number] => {
  const dOut = kernelShape.at(-1)!;
  return [tf.util.sizeFromShape([...kernelShape]) / dOut, dOut];
};

/** A site's kernel as the matrix [dIn, dOut], unpacked where it is held packed: a new tensor. */
export const kernelMatrix = (site: LowRankSite): tf.Tensor2D => tf.tidy(() => tf.reshape(site.readKernel(), matrixShape(site)));

/** A first factor [dIn, r] in the shape of the site's kernel, [h, w, cIn, r]. */
export const likeKernel = (factor: tf.Tensor, { kernelShape }: Pick<LowRankSite, 'kernelShape'>): tf.Tensor =>
  tf.reshape(factor, [...kernelShape.slice(0, -1), factor.shape.at(-1)!]);

/**
 * The sites that `targets` select, each fit for an adapter.
 *
 * @throws FinetuneError `no-match`, and `bad-option` naming all that are selected and do not fit
 */
export function lowRankSites(model: ModelView, targets: SiteFilter, who: string): readonly LowRankSite[] {
  const sites = model.sites(targets, who);
  const faults = sites.flatMap((site) => fault(site) ?? []);
  if (faults.length > 0)
    throw new FinetuneError(
      'bad-option',
      who,
      `targets select ${faults.join(', ')}; expected dense, conv or embedding ones. Leave them out.`,
    );
  return sites as readonly LowRankSite[];
}

/** All dense sites that fit. */
export const denseSites = (site: Site): site is LowRankSite => site.kind === 'dense' && fault(site) === undefined;

function fault(site: Site): string | undefined {
  const name = `"${site.name}" (${site.type}`;
  if (!kinds.has(site.kind)) return `${name})`;
  if (!site.kernelShape) return `${name}, which holds no kernel as it is used)`;
  if ((site.layer as { readonly dataFormat?: string } | undefined)?.dataFormat === 'channelsFirst') return `${name}, channels first)`;
  return undefined;
}
