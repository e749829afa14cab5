/**
 * A release without publishing: packs every public package as npm would, and judges what would go out. Lists every fault, then fails.
 * Needs `npm run build`. What is open, and need not be settled before there is something to release, is listed too; `--final` makes it a fault.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { publishedPackages } from './packages.ts';
import { addressFaults, unset } from './release/address.ts';
import { changesetFaults } from './release/changesets.ts';
import { contentFaults, manifestFaults, type Packed } from './release/contents.ts';
import { licenseFaults } from './release/licenses.ts';

const root: string = join(import.meta.dirname, '..');
const readJson = (path: string) => JSON.parse(readFileSync(join(root, path), 'utf8'));

function pack(folder: string): Packed {
  const { stdout, stderr, status } = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: folder,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`[release] npm pack failed in ${relative(root, folder)}:\n${stderr}`);
  const said = JSON.parse(stdout);
  const [{ files, size, unpackedSize }] = Array.isArray(said) ? said : Object.values<never>(said);
  return { files: (files as { path: string }[]).map(({ path }) => path), size, unpackedSize };
}

const faults: string[] = [];
const names: string[] = [];
const { repository } = readJson('package.json');
for (const { name, folder } of publishedPackages()) {
  names.push(name);
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const packed = pack(folder);
  console.log(`${name.padEnd(24)} ${`${packed.files.length}`.padStart(4)} files ${`${packed.size}`.padStart(8)} bytes packed`);
  faults.push(
    ...contentFaults(manifest, packed),
    ...manifestFaults(manifest),
    ...addressFaults(manifest, relative(root, folder), repository),
  );
}
const lock = readJson('package-lock.json');
const { faults: licenses, counted } = licenseFaults(lock.packages, names);
console.log(`${counted} production dependencies, their peers included`);
faults.push(...licenses, ...changesetFaults(root, names));

const size = spawnSync('npm', ['run', '--silent', 'size'], { cwd: root, encoding: 'utf8' });
if (size.status !== 0) faults.push(...size.stderr.trim().split('\n'));

if (repository === undefined) {
  if (process.argv.includes('--final')) faults.push(unset);
  else console.log(`open: ${unset}`);
}
for (const fault of faults) console.error(`[release] ${fault}`);
console.log(faults.length > 0 ? `${faults.length} fault(s): this must not be released` : `${names.length} packages could be released`);
if (faults.length > 0) process.exitCode = 1;
