/** The truncated SVDs of many kernels, with progress, and a file that keeps them beside the base model. */
import * as tf from '@tensorflow/tfjs-core';
import { handlerFor } from '../adapters/adapter-file.ts';
import { crc32 } from '../adapters/checksum.ts';
import { readModel, type TunableModel } from '../models/read-model.ts';
import type { SiteFilter } from '../technique.ts';
import { denseSites, kernelMatrix, type LowRankSite, lowRankSites, matrixShape } from './low-rank-sites.ts';
import { matrixFrom, zeros } from './matrix.ts';
import { type SvdOptions, type TruncatedSvd, truncatedSvd } from './truncated-svd.ts';

/** Options of {@link decompose}. */
export interface DecomposeOptions extends SvdOptions {
  /** How many singular values and vectors of each kernel, at most min(dIn, dOut). */
  readonly rank: number;
  /** @default all dense sites */
  readonly targets?: SiteFilter;
  /** Called after each kernel. */
  readonly onProgress?: (progress: { readonly done: number; readonly total: number; readonly site: string }) => void;
  /** A tf IO URL or handler. What it holds for these kernels is used; then it is written. @default none */
  readonly cache?: string | tf.io.IOHandler;
}

/** SVDs by site name. */
export type Decomposition = ReadonlyMap<string, TruncatedSvd>;

/** What a technique takes for the SVDs of its kernels: some that are known, or 'saved': none, as a file with the adapter's tensors follows. */
export type KnownSvds = Decomposition | 'saved';

/** The SVD of a site's kernel: from `known` if it reaches `rank`, else computed now. With 'saved' zeros stand in its place. */
export function svdOf(site: LowRankSite, rank: number, known?: KnownSvds, options?: SvdOptions): TruncatedSvd {
  if (known === 'saved') {
    const [dIn, dOut] = matrixShape(site);
    return { u: zeros(dIn, rank), sigma: new Float64Array(rank), v: zeros(dOut, rank), energy: 0 };
  }
  const found = known?.get(site.name);
  if (found && found.sigma.length >= rank) return found;
  const matrix = kernelMatrix(site);
  try {
    return truncatedSvd(matrix, rank, options);
  } finally {
    matrix.dispose();
  }
}

/**
 * Decomposes the kernels of a model one by one, yielding to the event loop in between.
 *
 * @throws FinetuneError `no-match`, `bad-option`, `not-finite`
 *
 * @example
 * const svd = await decompose(model, { rank: 32, cache: 'file://svd', onProgress: ({ done, total }) => bar.update(done / total) });
 * const tuned = finetune(model, lamda({ rank: 32, svd }));
 */
export async function decompose(
  model: TunableModel,
  { rank, targets = denseSites, onProgress, cache, ...options }: DecomposeOptions,
): Promise<Decomposition> {
  const sites = lowRankSites(readModel(model), targets, 'decompose');
  const keys = new Map(await Promise.all(sites.map(async (site) => [site, await keyOf(site, options)] as const)));
  const cached = cache === undefined ? new Map<string, TruncatedSvd>() : await readCache(cache);
  const result = new Map<string, TruncatedSvd>();
  const byKey = new Map<string, TruncatedSvd>();
  for (const [i, site] of sites.entries()) {
    const key = keys.get(site)!;
    const size = Math.min(rank, ...matrixShape(site));
    const svd = svdOf(
      site,
      size,
      new Map([[site.name, cached.get(key)!]].filter(([, found]) => found) as [string, TruncatedSvd][]),
      options,
    );
    result.set(site.name, svd);
    byKey.set(key, svd);
    onProgress?.({ done: i + 1, total: sites.length, site: site.name });
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  if (cache !== undefined && [...byKey].some(([key, svd]) => cached.get(key) !== svd))
    await writeCache(cache, new Map([...cached, ...byKey]));
  return result;
}

/** By what is decomposed, not by its name: a base that changes has other keys. */
async function keyOf(site: LowRankSite, { seed = 0, iterations = 4, oversample = 10 }: SvdOptions): Promise<string> {
  const kernel = site.readKernel();
  const values = (await kernel.data()) as Float32Array;
  kernel.dispose();
  const sum = crc32(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  return [sum, matrixShape(site).join('x'), seed, iterations, oversample].join('-');
}

const format = '@leantune/svd';

async function readCache(cache: string | tf.io.IOHandler): Promise<Map<string, TruncatedSvd>> {
  const artifacts = await Promise.resolve(handlerFor('load', cache).load!()).catch(() => undefined); // not there yet, or not legible: made anew
  const found = new Map<string, TruncatedSvd>();
  if (artifacts?.format !== format || !artifacts.weightSpecs) return found;
  const tensors = tf.io.decodeWeights(
    tf.io.CompositeArrayBuffer.join([artifacts.weightData ?? []].flat() as ArrayBuffer[]),
    artifacts.weightSpecs,
  );
  const { energies = {} } = artifacts.userDefinedMetadata as { energies?: { [key: string]: number } };
  for (const [key, energy] of Object.entries(energies)) {
    const [u, sigma, v] = ['u', 'sigma', 'v'].map((part) => tensors[`${key}/${part}`]!);
    const matrix = (t: tf.Tensor) => matrixFrom(t.shape[0]!, t.shape[1]!, t.dataSync());
    found.set(key, { u: matrix(u!), sigma: Float64Array.from(sigma!.dataSync()), v: matrix(v!), energy });
  }
  tf.dispose(tensors);
  return found;
}

async function writeCache(cache: string | tf.io.IOHandler, svds: ReadonlyMap<string, TruncatedSvd>): Promise<void> {
  const named = [...svds].flatMap(([key, { u, sigma, v }]) => [
    { name: `${key}/u`, tensor: tf.tensor2d(Float32Array.from(u.data), [u.rows, u.columns]) },
    { name: `${key}/sigma`, tensor: tf.tensor1d(Float32Array.from(sigma)) },
    { name: `${key}/v`, tensor: tf.tensor2d(Float32Array.from(v.data), [v.rows, v.columns]) },
  ]);
  try {
    const { data, specs } = await tf.io.encodeWeights(named);
    const energies = Object.fromEntries([...svds].map(([key, { energy }]) => [key, energy]));
    await handlerFor('save', cache).save!({
      modelTopology: {},
      format,
      generatedBy: 'LeanTune',
      userDefinedMetadata: { energies },
      weightSpecs: specs,
      weightData: data,
    });
  } finally {
    tf.dispose(named.map(({ tensor }) => tensor));
  }
}
