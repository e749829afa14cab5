/** Picks a tfjs backend, imports it, registers our kernels for it, and says what it picked and why. */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from './errors.ts';
import type { WasmBackend } from './wasm/backend.ts';

export type BackendName = 'tensorflow' | 'webgpu' | 'wasm' | 'webgl' | 'cpu';

export interface BackendOptions {
  /** wasm: folder or map of the `.wasm` files, as `setWasmPaths` takes it. @default found by itself in Node; beside the script in browsers */
  readonly wasmPaths?: string | Record<string, string>;
  /** wasm: most bytes that all tensors may hold; beyond, a BackendError with code 'out-of-memory'. @default the whole heap, 4 GiB */
  readonly maxBytes?: number;
}

export interface BackendChoice {
  readonly name: BackendName;
  readonly why: string;
}

const names: readonly BackendName[] = ['tensorflow', 'webgpu', 'wasm', 'webgl', 'cpu'];
const packagesOf: { readonly [name in BackendName]: readonly string[] } = {
  tensorflow: ['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node'],
  webgpu: ['@tensorflow/tfjs-backend-webgpu'],
  wasm: ['@tensorflow/tfjs-backend-wasm'],
  webgl: ['@tensorflow/tfjs-backend-webgl'],
  cpu: ['@tensorflow/tfjs-backend-cpu'],
};

/**
 * Makes `name` the backend of tfjs, ready to train.
 *
 * `'auto'` takes tensorflow where `@tensorflow/tfjs-node` or `-node-gpu` is installed, else webgpu where there is an adapter,
 * else wasm. The backends are optional peers: install the ones you use. With a bundler, import the backend's package
 * yourself (wasm and cpu need no import): a backend that tfjs already knows is taken as it is.
 *
 * @returns what it picked, and why
 * @throws BackendError `'not-installed'` (the package is missing), `'not-available'` (it does not run here), `'bad-option'`
 */
export async function useBackend(name: 'auto' | BackendName, options: BackendOptions = {}): Promise<BackendChoice> {
  if (name !== 'auto' && !names.includes(name))
    throw new BackendError('bad-option', 'useBackend', `got "${name}"; expected one of auto, ${names.join(', ')}`);
  if (name === 'auto') return automatic(options);
  const unused = Object.keys(options).filter(() => name !== 'wasm');
  if (unused.length > 0)
    throw new BackendError(
      'bad-option',
      'useBackend',
      `got ${unused.join(', ')} with "${name}"; these are options of "wasm" only; leave them out`,
    );
  await activate(name, options);
  return { name, why: 'asked for by name' };
}

async function automatic(options: BackendOptions): Promise<BackendChoice> {
  const passed: string[] = [];
  for (const name of ['tensorflow', 'webgpu'] as const) {
    try {
      if (name === 'webgpu' && !(await hasAdapter())) throw new BackendError('not-available', 'useBackend', 'there is no WebGPU adapter');
      await activate(name, options);
      return { name, why: [...passed, `${name} is installed and runs`].join('; ') };
    } catch (error) {
      passed.push(`${name}: ${(error as Error).message.replace(/^\[useBackend\] /, '').split(/[.\n]/)[0]}`);
    }
  }
  await activate('wasm', options);
  return { name: 'wasm', why: `${passed.join('; ')}; wasm runs everywhere` };
}

async function activate(name: BackendName, options: BackendOptions): Promise<void> {
  await importBackend(name, options);
  const failed = (cause?: unknown) =>
    new BackendError(
      'not-available',
      'useBackend',
      `tfjs could not initialize "${name}" here; expected an engine that supports it. Use 'auto' to fall back`,
      { cause },
    );
  const ok = await tf.setBackend(name).catch((error: unknown) => {
    throw failed(error);
  });
  if (!ok) throw failed();
  await tf.ready();
  if (name === 'tensorflow') (await import('./tensorflow/index.ts')).guardMemory(tf.backend());
  if (name !== 'wasm') return;
  await (await import('./wasm/native.ts')).startNative(tf.backend() as WasmBackend);
  (await import('./wasm/index.ts')).guardHeap(tf.backend(), options.maxBytes);
}

async function importBackend(name: BackendName, options: BackendOptions): Promise<void> {
  if (name === 'wasm') return importWasm(options);
  if (name === 'tensorflow') (await import('./tensorflow/index.ts')).shimNode();
  if (tf.findBackendFactory(name) === null) await importFirst(name);
  if (name === 'tensorflow') (await import('./tensorflow/index.ts')).registerTensorflowKernels();
  if (name === 'cpu') (await import('./cpu/index.ts')).registerCpuKernels();
}

async function importWasm({ wasmPaths }: BackendOptions): Promise<void> {
  const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm').catch((error: unknown) => {
    throw notInstalled('wasm', error);
  });
  const paths = wasmPaths ?? nodePaths();
  if (paths !== undefined) setWasmPaths(paths);
  await (await import('./wasm/index.ts')).registerWasmKernels();
}

/** In Node: the folder of the .wasm files, from wherever this package was installed. */
function nodePaths(): string | undefined {
  const node = globalThis.process?.getBuiltinModule?.('node:module');
  if (!node) return undefined;
  try {
    return node
      .createRequire(import.meta.url)
      .resolve('@tensorflow/tfjs-backend-wasm/package.json')
      .replace(/package\.json$/, 'dist/');
  } catch {
    return undefined; // bundled away from node_modules: tfjs looks beside the script
  }
}

async function importFirst(name: BackendName): Promise<void> {
  let last: unknown;
  for (const specifier of packagesOf[name])
    try {
      await import(/* @vite-ignore */ /* webpackIgnore: true */ specifier);
      return;
    } catch (error) {
      if (!isMissing(error, specifier))
        throw new BackendError('not-available', 'useBackend', `${specifier} is installed and does not load: ${(error as Error).message}`, {
          cause: error,
        });
      last = error;
    }
  throw notInstalled(name, last);
}

const isMissing = (error: unknown, specifier: string): boolean =>
  !/\.(node|so|dll|dylib)\b/.test(String(error)) && String(error).includes(specifier);

const notInstalled = (name: BackendName, cause: unknown): BackendError => {
  const [first] = packagesOf[name].slice(-1);
  return new BackendError(
    'not-installed',
    'useBackend',
    `"${name}" needs the package ${packagesOf[name].join(' or ')}. Run: npm install ${first}@^4.22`,
    { cause },
  );
};

async function hasAdapter(): Promise<boolean> {
  const gpu = (globalThis.navigator as { gpu?: { requestAdapter(): Promise<unknown> } } | undefined)?.gpu;
  return Boolean(await gpu?.requestAdapter());
}
