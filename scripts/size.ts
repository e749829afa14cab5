/**
 * What a published entry adds to a page: bundled and minified by esbuild, then gzipped, without tfjs and without its siblings.
 * Fails above the ceiling. A ceiling moves only in the commit that needs it, with the reason beside it.
 */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { publishedPackages } from './packages.ts';

interface Ceiling {
  readonly bytes: number;
  readonly because: string;
}

const ceilings: Readonly<Record<string, Ceiling>> = {
  '@leantune/core': { bytes: 12_000, because: 'a seventh of tfjs-core itself; what does not fit belongs in a technique' },
  '@leantune/backends': { bytes: 33_000, because: 'every backend at once; a page loads the part of the one it uses, on demand' },
  '@leantune/backends/cpu': { bytes: 1_500, because: 'corrections only; tfjs has the kernels' },
  '@leantune/convbn': { bytes: 6_000, because: 'two readers of models, four modes and the export' },
  '@leantune/backends/wasm': { bytes: 31_000, because: 'two native modules, with and without SIMD, of which a page loads one' },
};

async function gzippedSize(entry: string): Promise<number> {
  const { outputFiles } = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    conditions: ['@leantune/source'],
    external: ['@tensorflow/*', '@leantune/*', 'node:*'],
    loader: { '.wasm': 'binary' },
    logLevel: 'error',
  });
  return outputFiles.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);
}

const faults: string[] = [];
for (const { name, folder, sources } of publishedPackages()) {
  for (const [path, source] of sources) {
    const entry = join(name, path);
    const bytes = await gzippedSize(join(folder, source));
    const ceiling = ceilings[entry];
    if (!ceiling) faults.push(`${entry} has no ceiling; add one, with its reason, to scripts/size.ts (now ${bytes} bytes).`);
    else if (bytes > ceiling.bytes) faults.push(`${entry} has ${bytes} bytes; expected <= ${ceiling.bytes} (${ceiling.because}).`);
    console.log(`${entry.padEnd(28)} ${`${bytes}`.padStart(6)} of ${`${ceiling?.bytes ?? '?'}`.padStart(6)} bytes min+gzip`);
  }
}
for (const fault of faults) console.error(`[size] ${fault}`);
if (faults.length > 0) process.exitCode = 1;
