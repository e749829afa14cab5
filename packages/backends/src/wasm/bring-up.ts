/** tfjs-backend-wasm with our kernels and a guard on its heap. */
import type { BackendOptions, BringUp } from '../bring-up.ts';
import { notInstalled } from '../import-package.ts';
import type { WasmBackend } from './backend.ts';
import { guardHeap } from './heap-guard.ts';
import { registerWasmKernels } from './index.ts';
import { startNative } from './native.ts';

const packages = ['@tensorflow/tfjs-backend-wasm'] as const;

export const wasm: BringUp = {
  packages,
  setUp: 'Run: npm install @tensorflow/tfjs-backend-wasm@^4.22; in a page, say where its .wasm files are served: { wasmPaths }',
  options: ['wasmPaths', 'maxBytes'],
  async prepare({ wasmPaths }: BackendOptions) {
    const { setWasmPaths } = await import('@tensorflow/tfjs-backend-wasm').catch((error: unknown) => {
      throw notInstalled('wasm', packages, error);
    });
    const paths = wasmPaths ?? nodePaths();
    if (paths !== undefined) setWasmPaths(paths);
    await registerWasmKernels();
  },
  async start(backend, { maxBytes }) {
    await startNative(backend as WasmBackend);
    guardHeap(backend, maxBytes);
  },
};

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
