/** Packs each published package as npm would, and lets publint and are-the-types-wrong judge the tarball. Needs `npm run build`. */
import { spawnSync } from 'node:child_process';
import { publishedPackages } from './packages.ts';

const checks: readonly (readonly string[])[] = [
  ['publint', '--strict'],
  // Only import and bundlers are promised: there is no CommonJS build.
  ['attw', '--pack', '.', '--profile', 'esm-only', '--no-emoji'],
];

let failed = 0;
for (const { name, folder } of publishedPackages()) {
  for (const check of checks) {
    console.log(`\n${name}: ${check.join(' ')}`);
    const { status } = spawnSync('npx', ['--no-install', ...check], { cwd: folder, stdio: 'inherit' });
    if (status !== 0) failed++;
  }
}
if (failed > 0) {
  console.error(`\n[gates] ${failed} check(s) failed; see above.`);
  process.exitCode = 1;
}
