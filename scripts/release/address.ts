/**
 * Where the project lives: `repository` of the root's package.json, and from it three fields in the manifest of each package. npm refuses
 * provenance where they do not name the repository that the release runs in.
 *
 *   npx tsx scripts/release/address.ts https://github.com/<owner>/<name>    writes all of them
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { publishedPackages } from '../packages.ts';

interface Addressed {
  readonly name: string;
  readonly repository?: unknown;
  readonly homepage?: unknown;
  readonly bugs?: unknown;
}

export const unset: string =
  'repository is not set, nor homepage and bugs. Run npx tsx scripts/release/address.ts with the address of the project';

/** @param folder of the package, from the root */
export function addressOf(url: string, folder: string): { repository: object; homepage: string; bugs: string } {
  return {
    repository: { type: 'git', url: `git+${url}.git`, directory: folder },
    homepage: `${url}/tree/main/${folder}#readme`,
    bugs: `${url}/issues`,
  };
}

/** @param url what the root says; undefined: no package may say anything else */
export function addressFaults(manifest: Addressed, folder: string, url: string | undefined): string[] {
  const expected: Partial<ReturnType<typeof addressOf>> = url === undefined ? {} : addressOf(url, folder);
  return (['repository', 'homepage', 'bugs'] as const)
    .filter((field) => JSON.stringify(manifest[field]) !== JSON.stringify(expected[field]))
    .map((field) => `${manifest.name} has ${field} ${JSON.stringify(manifest[field])}; expected ${JSON.stringify(expected[field])}`);
}

function write(url: string): void {
  if (!/^https:\/\/[^/\s]+\/[^/\s]+\/[^/\s]+(?<!\.git|\/)$/.test(url))
    throw new Error(`[release] got the address "${url}"; expected https://<host>/<owner>/<name>`);
  const root = join(import.meta.dirname, '../..');
  const set = (path: string, fields: object): void => {
    const { publishConfig, ...manifest } = JSON.parse(readFileSync(path, 'utf8'));
    writeFileSync(path, `${JSON.stringify({ ...manifest, ...fields, ...(publishConfig && { publishConfig }) }, null, 2)}\n`);
  };
  set(join(root, 'package.json'), { repository: url });
  for (const { folder } of publishedPackages()) set(join(folder, 'package.json'), addressOf(url, relative(root, folder)));
}

if (process.argv[1] === import.meta.filename) write(process.argv[2] ?? '');
