/** Whether changesets knows every package, and every package has something to say in its changelog. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export function changesetFaults(root: string, names: readonly string[]): string[] {
  const folder = join(root, '.changeset');
  const { fixed, access } = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8'));
  const group: readonly string[] = fixed[0] ?? [];
  const pending = readdirSync(folder).filter((file) => file.endsWith('.md') && file !== 'README.md');
  const told = pending.flatMap((file) => {
    const [, head = ''] = readFileSync(join(folder, file), 'utf8').split(/^---$/m);
    return [...head.matchAll(/^['"]?([^'":]+)['"]?:\s*(\w+)/gm)].map(([, name, bump]) => ({ file, name: name!, bump: bump! }));
  });
  const list = (all: readonly string[]): string => all.join(', ');
  const outside = names.filter((name) => !group.includes(name));
  const gone = group.filter((name) => !names.includes(name));
  const silent = names.filter((name) => !told.some((one) => one.name === name));
  const wrong = told.filter(({ name, bump }) => !names.includes(name) || !/^(major|minor|patch|none)$/.test(bump));
  return [
    ...(fixed.length === 1 ? [] : [`.changeset/config.json has ${fixed.length} fixed groups; expected one of all packages`]),
    ...(access === 'public' ? [] : [`.changeset/config.json has access ${access}; expected public`]),
    ...(outside.length > 0 ? [`the fixed group lacks ${list(outside)}`] : []),
    ...(gone.length > 0 ? [`the fixed group names ${list(gone)}, which is not published`] : []),
    ...(pending.length > 0 && silent.length > 0 ? [`no changeset names ${list(silent)}, which would be released with the others`] : []),
    ...wrong.map(
      ({ file, name, bump }) => `.changeset/${file} says ${name}: ${bump}; expected a published package and major, minor or patch`,
    ),
  ];
}
