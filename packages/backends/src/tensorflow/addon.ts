/** Addons of our own, which `npm run setup:tfjs-node` builds beside tfjs-node's. */
import type { TensorflowBackend } from './binding.ts';

const loaded = new Map<string, unknown>();

/** What the addon `name` exports. @throws Error where it was not built, or does not load */
export function loadAddon({ isGPUPackage }: Pick<TensorflowBackend, 'isGPUPackage'>, name: string): unknown {
  const owner = `@tensorflow/tfjs-node${isGPUPackage ? '-gpu' : ''}`;
  const key = `${owner}/${name}`;
  if (!loaded.has(key)) {
    const node = process.getBuiltinModule('node:module');
    const manifest = node.createRequire(import.meta.url).resolve(`${owner}/package.json`);
    const inside = node.createRequire(manifest);
    const binding: string = inside('@mapbox/node-pre-gyp').find(manifest);
    loaded.set(key, inside(binding.replace(/tfjs_binding\.node$/, `${name}.node`)));
  }
  return loaded.get(key);
}
