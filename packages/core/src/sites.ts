/**
 * How a filter names places in a model.
 *
 * A string names a site by its whole path or by its last segments ('query' finds 'block_3/attention/query' and, as PyTorch writes
 * paths, 'layers.3.attention.query'), a RegExp is tested on the path, a list is the union of its entries, each of which must match, and a function decides itself.
 */
import { FinetuneError } from './errors.ts';
import type { Site, SiteFilter, SiteWeight } from './technique.ts';

type Named = { readonly name: string };
type Entry = string | RegExp | ((site: Site) => boolean);

/**
 * The sites that `filter` selects, in model order.
 *
 * @param who starts the message of an error: the technique or function that asks
 * @throws FinetuneError 'no-match' if nothing matches, or an entry of a list matches nothing; it names the nearest
 */
export function selectSites(sites: readonly Site[], filter: SiteFilter | undefined, who: string): readonly Site[] {
  return filter === undefined ? sites : select(sites, filter, who, (entry) => sitesOf(entry, sites), sites);
}

/**
 * The weights that `filter` selects, in model order: all weights of the sites it matches, and where an entry matches no site, the
 * weights it matches by full name ('conv1/bias', /bias$/).
 *
 * @throws FinetuneError 'no-match' as {@link selectSites}
 */
export function selectWeights(sites: readonly Site[], filter: SiteFilter, who: string): readonly SiteWeight[] {
  const weights = sites.flatMap((site) => site.weights);
  refusePacked(sites, filter, who);
  const find = (entry: Entry) => {
    const found = sitesOf(entry, sites);
    return found.length > 0 || typeof entry === 'function' ? found.flatMap((site) => site.weights) : named(entry, weights);
  };
  return select(weights, filter, who, find, [...sites.filter((site) => site.weights.length > 0), ...weights]);
}

/** A site that is named as what trains, and cannot: better said than that nothing matches. */
function refusePacked(sites: readonly Site[], filter: SiteFilter, who: string): void {
  for (const entry of [filter].flat() as Entry[]) {
    const found = sitesOf(entry, sites);
    if (found.length === 0 || found.some((site) => site.weights.length > 0 || !site.kernelShape)) continue;
    const names = `"${found[0]!.name}"${found.length > 1 ? ` and ${found.length - 1} more` : ''}`;
    const advice = 'Train an adapter beside it, or load the model in float32.';
    throw new FinetuneError('no-match', who, `got ${names}, whose kernel is packed and frozen; expected weights that can train. ${advice}`);
  }
}

const named = <T extends Named>(pattern: string | RegExp, items: readonly T[]): T[] =>
  items.filter(({ name }) =>
    typeof pattern === 'string'
      ? name === pattern || name.endsWith(`/${pattern}`) || name.endsWith(`.${pattern}`)
      : name.search(pattern) >= 0,
  );

const sitesOf = (entry: Entry, sites: readonly Site[]): Site[] => (typeof entry === 'function' ? sites.filter(entry) : named(entry, sites));

/** The `items` that any entry of `filter` finds; each must find one. */
function select<T extends Named>(
  items: readonly T[],
  filter: SiteFilter,
  who: string,
  find: (entry: Entry) => readonly T[],
  offered: readonly Named[],
): readonly T[] {
  const entries = [filter].flat() as Entry[];
  const found = entries.map(find);
  const missing = entries.filter((_, i) => found[i]!.length === 0);
  if (entries.length === 0 || missing.length > 0) throw noMatch(missing, offered, who);
  const chosen = new Set(found.flat());
  return items.filter((item) => chosen.has(item));
}

function noMatch(missing: readonly Entry[], offered: readonly Named[], who: string): FinetuneError {
  const patterns = missing.filter((entry) => typeof entry !== 'function');
  const got = patterns.map((pattern) => (typeof pattern === 'string' ? `"${pattern}"` : String(pattern))).join(', ') || 'a filter';
  const sought = patterns.map((pattern) => (typeof pattern === 'string' ? pattern : pattern.source));
  const far = (name: string) =>
    Math.min(...sought.flatMap((s) => [name, name.slice(name.lastIndexOf('/') + 1)].map((n) => distance(s, n))));
  const near = offered.map(({ name }) => ({ name, far: far(name) })).sort((a, b) => a.far - b.far || 0);
  const names = near.slice(0, 8).map(({ name }) => `"${name}"`);
  const more = near.length > 8 ? ` (nearest of ${near.length})` : '';
  const advice = 'Use a whole name, its last segments, a RegExp, a list of these that all match, or a function of the site.';
  const expected = `expected names such as ${names.join(', ') || '(there are none)'}${more}`;
  return new FinetuneError('no-match', who, `got ${got}, which matches nothing in this model; ${expected}. ${advice}`);
}

/** Edits (insert, delete, replace) that lead from a to b. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1];
    for (let j = 0; j < b.length; j++) next.push(Math.min(next[j]! + 1, row[j + 1]! + 1, row[j]! + Number(a[i] !== b[j])));
    row = next;
  }
  return row[b.length]!;
}
