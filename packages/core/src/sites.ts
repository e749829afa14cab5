/**
 * How a filter names places in a model.
 *
 * A string names a site by its whole path or by its last segments ('query' finds 'block_3/attention/query'), a RegExp is tested
 * on the path, a list is the union of its entries, each of which must match, and a function decides itself.
 */
import { FinetuneError } from './errors.ts';
import type { Site, SiteFilter, SiteWeight } from './technique.ts';

type Named = { readonly name: string };

const matches = (pattern: string | RegExp, name: string): boolean =>
  typeof pattern === 'string' ? name === pattern || name.endsWith(`/${pattern}`) : name.search(pattern) >= 0;

const nameMatches = <T extends Named>(pattern: string | RegExp, items: readonly T[]): T[] =>
  items.filter((item) => matches(pattern, item.name));

/**
 * The sites that `filter` selects, in model order.
 *
 * @param who starts the message of an error: the technique or function that asks
 * @throws FinetuneError 'no-match' if nothing matches, or an entry of a list matches nothing; it names the nearest
 */
export function selectSites(sites: readonly Site[], filter: SiteFilter | undefined, who: string): readonly Site[] {
  return filter === undefined ? sites : select(sites, filter, who, nameMatches, sites);
}

/**
 * The weights that `filter` selects, in model order: all weights of the sites it matches, and where an entry matches no site, the
 * weights it matches by full name ('conv1/bias', /bias$/).
 *
 * @throws FinetuneError 'no-match' as {@link selectSites}
 */
export function selectWeights(sites: readonly Site[], filter: SiteFilter, who: string): readonly SiteWeight[] {
  const weights = sites.flatMap((site) => site.weights);
  const ofSites = (found: readonly Site[]) => found.flatMap((site) => site.weights);
  if (typeof filter === 'function')
    return ofSites(
      select(
        sites.filter((site) => site.weights.length > 0),
        filter,
        who,
        nameMatches,
        weights,
      ),
    );
  const find = (pattern: string | RegExp) => {
    const found = nameMatches(pattern, sites);
    return found.length > 0 ? ofSites(found) : nameMatches(pattern, weights);
  };
  return select(weights, filter, who, find, [...sites.filter((site) => site.weights.length > 0), ...weights]);
}

function select<T extends Named>(
  items: readonly T[],
  filter: Exclude<SiteFilter, (site: Site) => boolean> | ((item: T & Site) => boolean),
  who: string,
  find: (pattern: string | RegExp, items: readonly T[]) => readonly T[],
  offered: readonly Named[],
): readonly T[] {
  const patterns = typeof filter === 'function' ? [] : ([filter].flat() as (string | RegExp)[]);
  const found = patterns.map((pattern) => find(pattern, items));
  const chosen = new Set(typeof filter === 'function' ? (items as readonly (T & Site)[]).filter(filter) : found.flat());
  const missing = patterns.filter((_, i) => found[i]!.length === 0);
  if (chosen.size > 0 && missing.length === 0) return items.filter((item) => chosen.has(item));
  throw noMatch(missing, offered, who);
}

function noMatch(missing: readonly (string | RegExp)[], offered: readonly Named[], who: string): FinetuneError {
  const got = missing.map((pattern) => (typeof pattern === 'string' ? `"${pattern}"` : String(pattern))).join(', ') || 'a filter';
  const sought = missing.map((pattern) => (typeof pattern === 'string' ? pattern : pattern.source));
  const far = (name: string) =>
    Math.min(...sought.map((s) => Math.min(distance(s, name), distance(s, name.slice(name.lastIndexOf('/') + 1)))));
  const near = offered.map(({ name }) => [name, far(name)] as const).sort((a, b) => a[1] - b[1] || 0);
  const names = near
    .slice(0, 8)
    .map(([name]) => `"${name}"`)
    .join(', ');
  return new FinetuneError(
    'no-match',
    who,
    `got ${got}, which matches nothing in this model; expected names such as ${names || '(there are none)'}${near.length > 8 ? ` (nearest of ${near.length})` : ''}. ` +
      'Use a whole name, its last segments, a RegExp, a list of these that all match, or a function of the site.',
  );
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
