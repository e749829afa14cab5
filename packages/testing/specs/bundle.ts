/**
 * Bundles the test suite that ships in tfjs-core's npm tarball (265 `*_test.js` files) for one backend, with tfjs-core's
 * `gradients` module replaced by gradients.ts. The bundle holds one tfjs-core, so core, backend and specs share one engine.
 *
 * `ignoreAnnotations` matters: package.json's `sideEffects` would let esbuild drop every test.
 */
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Plugin } from 'esbuild';
import { type BackendName, specBackends } from './backends.ts';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../..');
const require = createRequire(import.meta.url);

/** Path of the bundle; built when its inputs have changed. `ours: false` keeps tfjs's own gradients and kernels. */
export async function bundleSpecs(backend: BackendName, ours = true): Promise<string> {
  const { define, external = [], plugins = [] } = specBackends[backend];
  const folder = join(root, 'node_modules/.cache/leantune-specs');
  const prefix = `${backend}-${ours ? 'ours' : 'stock'}-`;
  const file = join(folder, `${prefix}${contentKey(backend, ours)}.cjs`);
  if (existsSync(file)) return file;
  await mkdir(folder, { recursive: true });
  const partial = `${file}.${process.pid}`;
  await build({
    entryPoints: [join(here, 'entry.ts')],
    outfile: partial,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    mainFields: ['module', 'main'],
    conditions: ['@leantune/source'],
    external: ['jasmine-core', 'node-fetch', ...external],
    ignoreAnnotations: true,
    define: { BACKEND: JSON.stringify(backend), OURS: String(ours), ...define?.() },
    plugins: [startBackend(backend), ...(ours ? [replaceGradients] : []), ...plugins],
    logLevel: 'error',
  });
  await Promise.all(
    readdirSync(folder).flatMap((name) =>
      name.startsWith(prefix) && name.endsWith('.cjs') ? rm(join(folder, name), { force: true }) : [],
    ),
  );
  await rename(partial, file);
  return file;
}

/** tfjs-core's gradients are ours. */
export const replaceGradients: Plugin = {
  name: 'replace-gradients',
  setup({ onResolve }) {
    onResolve({ filter: /(^|\/)gradients(\.js)?$/ }, ({ importer }) =>
      /tfjs-core\/dist\//.test(importer.replaceAll('\\', '/')) ? { path: join(here, 'gradients.ts') } : undefined,
    );
  },
};

/** The entry starts `backend`. */
export const startBackend = (backend: string): Plugin => ({
  name: 'start-backend',
  setup({ onResolve }) {
    onResolve({ filter: /^\.\/start\/cpu\.ts$/ }, () => ({ path: join(here, 'start', `${backend}.ts`) }));
  },
});

/** Our sources by content, npm packages by version. */
function contentKey(backend: BackendName, ours: boolean): string {
  const hash = createHash('sha256').update(process.version);
  for (const name of ['@tensorflow/tfjs-core', specBackends[backend].package, 'esbuild'])
    hash.update(require(`${name}/package.json`).version);
  const folders = ['packages/testing/specs', ...(ours ? ['packages/core/src', 'packages/backends/src'] : [])].filter((f) =>
    existsSync(join(root, f)),
  );
  for (const folder of folders) {
    for (const entry of readdirSync(join(root, folder), { recursive: true, withFileTypes: true }).filter((e) => e.isFile())) {
      const file = join(entry.parentPath, entry.name);
      hash.update(relative(root, file)).update(readFileSync(file));
    }
  }
  return hash.digest('hex').slice(0, 16);
}
