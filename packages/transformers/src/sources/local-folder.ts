/** A folder of the file system: Node alone. */
import type { Source } from './source.ts';

/** @param path of the folder, or a `file://` address */
export function localFolder(path: string): Source {
  return {
    name: path,
    async open(file) {
      const [{ createReadStream }, { stat }, { join }, { fileURLToPath }] = await Promise.all([
        import('node:fs'),
        import('node:fs/promises'),
        import('node:path'),
        import('node:url'),
      ]);
      const folder = path.startsWith('file://') ? fileURLToPath(path) : path;
      const full = join(folder, file);
      const found = await stat(full).catch((error: { code?: string }) => {
        if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
        throw error;
      });
      return found?.isFile() ? { chunks: createReadStream(full, { highWaterMark: 1 << 20 }), size: found.size } : undefined;
    },
  };
}
