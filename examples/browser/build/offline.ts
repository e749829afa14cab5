/** A Vite plugin: a service worker that knows every file of the page, and a version that changes with any of them. */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import type { Plugin } from 'vite';

export function offline(): Plugin {
  return {
    name: 'offline',
    apply: 'build',
    enforce: 'post',
    config: () => ({ define: { 'import.meta.env.OFFLINE': 'true' } }), // PROD would tell of NODE_ENV
    async generateBundle(_, bundle) {
      const hash = createHash('sha256');
      const files = Object.keys(bundle).filter((name) => !name.endsWith('.map'));
      for (const name of files.sort()) {
        const file = bundle[name]!;
        hash.update(name).update(file.type === 'chunk' ? file.code : file.source);
      }
      const code = await readFile(new URL('../service-worker.js', import.meta.url), 'utf8');
      const source = code
        .replace('self.__FILES__', JSON.stringify(['./', ...files.filter((name) => name !== 'index.html')], null, 2))
        .replace('self.__VERSION__', JSON.stringify(hash.digest('hex').slice(0, 16)));
      this.emitFile({ type: 'asset', fileName: 'service-worker.js', source });
    },
  };
}
