/** The licences of everything that an installed package brings along, by package-lock.json. */
import { satisfies } from './expression.ts';

export interface Locked {
  readonly license?: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly link?: boolean;
  readonly resolved?: string;
}

/** Permissive: they ask for no more than their notice. */
const allowed: readonly string[] = [
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BSL-1.0',
  'BlueOak-1.0.0',
  'ISC',
  'MIT',
  'Unlicense',
];

/** Follows dependencies and peers from the packages called `names`, as Node finds them. */
export function licenseFaults(packages: Readonly<Record<string, Locked>>, names: readonly string[]): { faults: string[]; counted: number } {
  const seen = new Set<string>();
  const walk = (from: string, name: string): void => {
    const path = find(packages, from, name);
    if (path === undefined || seen.has(path)) return; // an optional peer that nothing installs
    seen.add(path);
    const { dependencies, optionalDependencies, peerDependencies } = packages[path]!;
    for (const next of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) walk(path, next);
  };
  for (const name of names) walk('', name);
  const found = [...seen].filter((path) => path.includes('node_modules/'));
  const faults = found.flatMap((path) => {
    const { license } = packages[path]!;
    return license !== undefined && satisfies(license, allowed)
      ? []
      : [`${path} has licence ${license ?? '(none)'}; expected ${allowed.join(', ')}`];
  });
  return { faults, counted: found.length };
}

/** The folder that `name` means to the package at `from`: in its own node_modules, or in those above. */
function find(packages: Readonly<Record<string, Locked>>, from: string, name: string): string | undefined {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/')))) {
    const path = `${at === '' ? '' : `${at}/`}node_modules/${name}`;
    const locked = packages[path];
    if (locked) return locked.link ? locked.resolved : path;
    if (at === '') return undefined;
  }
}
