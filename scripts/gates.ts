/**
 * Judges each published package as its users will meet it: publint and are-the-types-wrong on what npm would pack, and an import of
 * every built entry in plain Node, without the source condition. Needs `npm run build`.
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path/posix';
import { publishedPackages } from './packages.ts';

let failed = 0;
for (const { name, folder, sources } of publishedPackages()) {
  const imports = [...sources.keys()].map((path) => `await import('${join(name, path)}');`).join(' ');
  const checks: readonly (readonly string[])[] = [
    ['npx', '--no-install', 'publint', '--strict'],
    // Only import and bundlers are promised: there is no CommonJS build.
    ['npx', '--no-install', 'attw', '--pack', '.', '--profile', 'esm-only', '--no-emoji'],
    ['node', '--input-type=module', '--eval', imports],
  ];
  for (const [command, ...args] of checks) {
    console.log(`\n${name}: ${command} ${args.join(' ')}`);
    const { status } = spawnSync(command!, args, { cwd: folder, stdio: 'inherit' });
    if (status !== 0) failed++;
  }
}
if (failed > 0) {
  console.error(`\n[gates] ${failed} check(s) failed; see above.`);
  process.exitCode = 1;
}
