/**
 * What a published entry adds to a page: bundled and minified by esbuild, then gzipped, without tfjs, its siblings and
 * clients that load on demand.
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
  '@leantune/s2a': {
    bytes: 9_800,
    because: 'three modules, the rules of every operator, and automatic precision',
  },
  '@leantune/mixed-precision': { bytes: 4_500, because: 'the lists, the rounding of operands and results, loss scaling' },
  '@leantune/core': { bytes: 40_100, because: 'everything at once, which no page loads; it is here so that nothing grows unseen' },
  '@leantune/core { valueAndGrads, checkpoint }': {
    bytes: 14_300,
    because:
      'the autograd alone; 3.7 kB of it finds norms and activations that are spelled in several ops and differentiates each as one; 0.8 kB of it says what memory held when there was too little, or what the last step held where that is told late, 1.2 kB are for variables that a loss assigns, gradients that nest, kernels that are differentiated as one, and kernels of backends that do a gradient in one pass',
  },
  '@leantune/core { finetune }': {
    bytes: 28_500,
    because:
      'the goal is 12,000: see docs/decisions/2026-11-23-bundle-size.md; 0.4 kB of it for batch norms that do the work of the ReLUs behind them, 3.7 kB of it for norms and activations spelled in several ops, 4 kB for patterns of kernels, updates of many variables at once, rules that see a kernel whole, rows that freeze, another kernel at a site, kernels that are held packed, einsums that are dense layers, and steps that move nothing where a device learns late that the loss is not finite',
  },
  '@leantune/core { measure }': { bytes: 5_500, because: 'the tracker with its table and its page' },
  '@leantune/backends': {
    bytes: 142_000,
    because:
      'every backend at once, 5 kB of it casts to halves, 4 kB attention on webgpu and 7 on wasm, a fifth codes values that wait; a page loads the part of the one it uses, on demand',
  },
  '@leantune/backends/tensorflow': {
    bytes: 14_700,
    because:
      'kernels, gradients in one op, raw ops, the codes of values that wait in few bits, half kernels, ops of our own for codes, elementwise ops, norms and threads, and the allocator; it is for Node and never on a page',
  },
  '@leantune/core/safetensors': {
    bytes: 3_900,
    because: 'reader with all its checks, writer, two half precisions, and adapters as two files',
  },
  '@leantune/transformers': {
    bytes: 21_700,
    because: 'seven architectures, their blocks, four sources, generation, data and the rounding of frozen weights; each is small',
  },
  '@leantune/backends/cpu': {
    bytes: 3_400,
    because: 'the windows of pooling, the codes of values that wait in few bits, and casts to halves; tfjs has the other kernels',
  },
  '@leantune/backends/wasm': {
    bytes: 77_500,
    because:
      'two native modules, with and without SIMD, of which a page loads one; a quarter of them codes values that wait in few bits, 7 kB train batch norms, 7 kB are attention and its gradient, 3 kB casts to halves',
  },
  '@leantune/backends/webgpu': {
    bytes: 37_000,
    because:
      'dispatch, the pool, and the WGSL of the kernels, a kilobyte of it elementwise, one and a half move values exactly, one norms rows and gelu, one and a quarter trains batch norms and the ReLUs behind them, one updates many variables at once and takes softmax and sums of rows, half of one casts to halves, three code values that wait, three multiply and add in halves, half of one reads frozen tables in few bits, four are attention and its gradient, whose sizes wasm checks alike; the device is brought up by useBackend',
  },
  '@leantune/backends/webgl': {
    bytes: 5_000,
    because: 'corrections, and the GLSL of casts to halves and of codes; tfjs has the other kernels',
  },
  leantune: { bytes: 6_000, because: 'a program for Node, which no page loads; it is here so that it stays small' },
  '@leantune/core/patterns': { bytes: 2_300, because: 'the spellings of norms and activations, which a page has from core' },
  '@leantune/core/low-rank': {
    bytes: 29_600,
    because: 'bundled by itself, as here, two thirds of it are the readers of models and the recording, which a page has from core',
  },
  '@leantune/lamda': { bytes: 4_800, because: 'the path, its freezing, the allocation of ranks and the page that shows it' },
  '@leantune/lora': { bytes: 6_300, because: "LoRA and its kin, two fifths of it for peft's names and files and the checks of them" },
  '@leantune/energy': { bytes: 61_500, because: 'meters and the protocol, for Node and never on a page, and the distributions below' },
  '@leantune/energy/statistics': {
    bytes: 56_000,
    because: 'nine tenths are distributions of @stdlib: see docs/decisions/2026-11-27-statistics-library.md',
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
    external: ['@tensorflow/*', '@leantune/*', '@huggingface/*', 'webgpu', 'koffi', 'node:*'],
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
