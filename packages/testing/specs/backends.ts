/** What a bundle of the specs needs of each backend. A new backend adds a row here and a file `start/<name>.ts`, which exports `start(ours)`. */
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Plugin } from 'esbuild';
import { tensorflowBinding, tensorflowClasses } from './tensorflow.ts';

export interface SpecBackend {
  /** Its npm package; a new version makes a new bundle. */
  readonly package: string;
  /** Constants of its file in `start/`. */
  readonly define?: () => { readonly [name: string]: string };
  /** What stays outside the bundle. */
  readonly external?: readonly string[];
  readonly plugins?: readonly Plugin[];
}

export type BackendName = 'cpu' | 'wasm' | 'webgpu' | 'tensorflow';

const require = createRequire(import.meta.url);

export const specBackends: { readonly [name in BackendName]: SpecBackend } = {
  cpu: { package: '@tensorflow/tfjs-backend-cpu' },
  wasm: {
    package: '@tensorflow/tfjs-backend-wasm',
    define: () => ({
      WASM_PATH: JSON.stringify(join(dirname(require.resolve('@tensorflow/tfjs-backend-wasm/package.json')), 'wasm-out/')),
    }),
  },
  webgpu: { package: '@tensorflow/tfjs-backend-webgpu', external: ['webgpu'] },
  tensorflow: {
    package: '@tensorflow/tfjs-node',
    define: () => ({ BINDING: JSON.stringify(tensorflowBinding()) }),
    external: ['*.node'],
    plugins: [tensorflowClasses],
  },
};
