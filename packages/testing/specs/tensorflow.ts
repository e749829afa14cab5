/** How tfjs-node goes into a bundle that holds one tfjs-core. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Plugin } from 'esbuild';
import ts from 'typescript';

const require = createRequire(import.meta.url);

/** Path of tfjs-node's compiled addon, which exists once `npm run setup:tfjs-node` has run. */
export function tensorflowBinding(): string {
  const manifest = require.resolve('@tensorflow/tfjs-node/package.json');
  return createRequire(manifest)('@mapbox/node-pre-gyp').find(manifest);
}

/** tfjs-node is ES5 and calls its parent class as a function, so that class becomes one. */
export const tensorflowClasses: Plugin = {
  name: 'tensorflow-classes',
  setup({ onLoad }) {
    onLoad({ filter: /tfjs-core[\\/]dist[\\/]backends[\\/]backend\.js$/ }, ({ path }) => ({
      contents: ts.transpile(readFileSync(path, 'utf8'), { target: ts.ScriptTarget.ES5, module: ts.ModuleKind.ESNext }, path),
    }));
  },
};
