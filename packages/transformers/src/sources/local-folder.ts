/** A folder of the file system: Node, Deno and Bun. */
import { FinetuneError } from '@leantune/core';
import type { Source } from './source.ts';

/**
 * A checkpoint in a folder of the file system.
 *
 * @param path of the folder, or a `file://` address
 */
export function localFolder(path: string): Source {
  return {
    name: path,
    async open(file) {
      // asked for in a way that no bundler follows: a page is built without them
      const builtin = globalThis.process?.getBuiltinModule;
      if (!builtin) {
        const advice = "Serve the folder and give its address: 'https://…'.";
        throw new FinetuneError('bad-option', 'transformers', `${path}: got a folder, in a page, which has no files. ${advice}`);
      }
      const { createReadStream } = builtin('node:fs');
      const { stat } = builtin('node:fs/promises');
      const folder = path.startsWith('file://') ? builtin('node:url').fileURLToPath(path) : path;
      const full = builtin('node:path').join(folder, file);
      const found = await stat(full).catch((error: { code?: string }) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
        throw error;
      });
      return found?.isFile() ? { chunks: createReadStream(full, { highWaterMark: 1 << 20 }), size: found.size } : undefined;
    },
  };
}
