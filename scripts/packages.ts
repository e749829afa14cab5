/** The packages that are published: every folder of packages/ whose package.json is not private. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export interface Published {
  readonly name: string;
  readonly folder: string;
  /** Sub-path to source file: `{ '.': './src/index.ts' }`. */
  readonly sources: ReadonlyMap<string, string>;
}

const root: string = join(import.meta.dirname, '..');

export function publishedPackages(): readonly Published[] {
  const folders = readdirSync(join(root, 'packages')).map((name) => join(root, 'packages', name));
  return folders.flatMap((folder) => {
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    if (manifest.private) return [];
    const targets: [string, Record<string, string>][] = Object.entries(manifest.exports);
    const sources = targets.flatMap(([path, target]): [string, string][] => {
      const source = target['@leantune/source'];
      return source ? [[path, source]] : [];
    });
    return [{ name: manifest.name, folder, sources: new Map(sources) }];
  });
}
