/**
 * What a page loads: each package as `npm run size` bundles it, beside tfjs and jax-js by the same means. Bytes after gzip.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/compare/bundle.ts
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';
import { findPeers } from './install.ts';
import { commit } from './machine.ts';

export interface Bundles {
  readonly date: string;
  readonly commit: string | null;
  /** Bytes, minified and gzipped, by what is imported. */
  readonly entries: { readonly [entry: string]: number };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const said = execFileSync('npx', ['tsx', 'scripts/size.ts'], { cwd: new URL('../../', import.meta.url), encoding: 'utf8' });
  const ours = [...said.matchAll(/^(\S.*?) +(\d+) of +\d+ bytes/gm)].map(([, entry, bytes]) => [entry!, Number(bytes)] as const);
  const { jaxJs } = findPeers(false);
  const theirs: { readonly [entry: string]: string } = {
    '@tensorflow/tfjs-core + tfjs-layers': "export * from '@tensorflow/tfjs-core'; export * as layers from '@tensorflow/tfjs-layers';",
    ...('path' in jaxJs && { '@jax-js/jax': `export * from ${JSON.stringify(jaxJs.path)};` }),
  };
  const entries = Object.fromEntries(ours);
  for (const [entry, contents] of Object.entries(theirs)) entries[entry] = await gzipped(contents);
  const result: Bundles = { date: new Date().toISOString(), commit: commit(), entries };
  writeFileSync(new URL('results/bundle.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}

async function gzipped(contents: string): Promise<number> {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: fileURLToPath(new URL('.', import.meta.url)) },
    ...{ bundle: true, minify: true, write: false, format: 'esm', target: 'es2022', platform: 'browser', logLevel: 'error' },
  });
  return outputFiles.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);
}
