/**
 * What a published entry adds to a page: bundled and minified by esbuild, then gzipped, without tfjs and without its siblings.
 * Fails above the ceiling. A ceiling moves only in the commit that needs it, with the reason beside it.
 */
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type BuildResult, build, type OutputFile } from 'esbuild';
import { publishedPackages } from './packages.ts';

interface Ceiling {
  readonly bytes: number;
  readonly because: string;
}

/** By entry, and for core by what a page imports from it; what it loads later, on demand, is not counted there. */
const ceilings: Readonly<Record<string, Ceiling>> = {
  '@leantune/core': { bytes: 29_500, because: 'everything at once, which no page loads; it is here so that nothing grows unseen' },
  '@leantune/core { valueAndGrads, checkpoint }': {
    bytes: 8_000,
    because: 'the autograd alone; 0.6 kB of it for variables that a loss assigns, and gradients that nest',
  },
  '@leantune/core { finetune }': { bytes: 18_000, because: 'the goal is 12,000: see docs/decisions/2026-11-23-bundle-size.md' },
  '@leantune/core { measure }': { bytes: 5_500, because: 'the tracker with its table and its page' },
  '@leantune/backends': { bytes: 43_000, because: 'every backend at once; a page loads the part of the one it uses, on demand' },
  '@leantune/backends/cpu': { bytes: 1_500, because: 'corrections only; tfjs has the kernels' },
  '@leantune/backends/wasm': { bytes: 41_000, because: 'two native modules, with and without SIMD, of which a page loads one' },
  '@leantune/backends/webgpu': {
    bytes: 14_500,
    because: 'dispatch, the pool, and the WGSL of the kernels; the device is brought up by useBackend',
  },
  '@leantune/convbn': { bytes: 6_000, because: 'two readers of models, four modes and the export' },
};

/** Bytes of `entry`, or of what a page gets at once that imports `names` from it. */
async function gzippedSize(entry: string, names?: string): Promise<number> {
  const result = await build({
    ...(names ? { stdin: { contents: `export ${names} from ${JSON.stringify(entry)};`, resolveDir: '.' } } : { entryPoints: [entry] }),
    bundle: true,
    splitting: names !== undefined,
    outdir: 'unwritten',
    minify: true,
    write: false,
    format: 'esm',
    target: 'es2022',
    platform: 'browser',
    conditions: ['@leantune/source'],
    external: ['@tensorflow/*', '@leantune/*', 'node:*', 'webgpu'],
    loader: { '.wasm': 'binary' },
    logLevel: 'error',
    metafile: true,
  });
  const files = names ? loadedAtOnce(result) : result.outputFiles;
  return files.reduce((sum, file) => sum + gzipSync(file.contents, { level: 9 }).length, 0);
}

/** The page's own chunk and what it imports statically. */
function loadedAtOnce({ outputFiles, metafile: { outputs } }: BuildResult<{ write: false; metafile: true }>): OutputFile[] {
  const loaded = new Set<string>();
  const load = (path: string): void => {
    if (loaded.has(path)) return;
    loaded.add(path);
    for (const next of outputs[path]!.imports) if (next.kind === 'import-statement' && !next.external) load(next.path);
  };
  load(Object.keys(outputs).find((path) => outputs[path]!.entryPoint === '<stdin>')!);
  return outputFiles.filter((file) => [...loaded].some((path) => file.path.endsWith(path)));
}

const faults: string[] = [];
function compare(entry: string, bytes: number): void {
  const ceiling = ceilings[entry];
  if (!ceiling) faults.push(`${entry} has no ceiling; add one, with its reason, to scripts/size.ts (now ${bytes} bytes).`);
  else if (bytes > ceiling.bytes) faults.push(`${entry} has ${bytes} bytes; expected <= ${ceiling.bytes} (${ceiling.because}).`);
  console.log(`${entry.padEnd(46)} ${`${bytes}`.padStart(6)} of ${`${ceiling?.bytes ?? '?'}`.padStart(6)} bytes min+gzip`);
}

for (const { name, folder, sources } of publishedPackages()) {
  for (const [path, source] of sources) {
    const entry = join(name, path);
    compare(entry, await gzippedSize(join(folder, source)));
    for (const imports of Object.keys(ceilings)) {
      if (imports.startsWith(`${entry} `)) compare(imports, await gzippedSize(join(folder, source), imports.slice(entry.length + 1)));
    }
  }
}
for (const fault of faults) console.error(`[size] ${fault}`);
if (faults.length > 0) process.exitCode = 1;
