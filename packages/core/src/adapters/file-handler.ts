/**
 * `file://` for Node without tfjs-node, with saves that are all or nothing.
 *
 * A folder holds `model.json` and the weights it names: tfjs's own layout, so tfjs-node and any web server can serve it. Saving writes
 * the weights under a fresh name, flushes them, and then renames a finished `model.json` over the old one. Whatever interrupts it (a
 * full disk, a kill, a power cut), the folder holds the old files or the new ones; tfjs-node's handler writes over the old ones in place.
 */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';

interface FileHandle {
  writeFile(data: string | Uint8Array): Promise<unknown>;
  sync(): Promise<unknown>;
  close(): Promise<unknown>;
}

/** What is used of `node:fs/promises`. */
export interface FileSystem {
  mkdir(path: string, options: { recursive: true }): Promise<unknown>;
  open(path: string, flags: string): Promise<FileHandle>;
  readFile(path: string): Promise<Uint8Array>;
  rename(from: string, to: string): Promise<unknown>;
  rm(path: string, options: { force: true }): Promise<unknown>;
  readdir(path: string): Promise<string[]>;
  stat(path: string): Promise<{ readonly mtimeMs: number }>;
}

const ours = /^(weights-\w+\.bin|model\.json\.\w+\.tmp)$/;
const hour = 3_600_000;

/** `node:fs/promises` in Node, Deno and Bun, undefined in a browser; asked for in a way that no bundler follows. */
export function nodeFileSystem(): FileSystem | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?(id: string): unknown } };
  return process?.getBuiltinModule?.('node:fs/promises') as FileSystem | undefined;
}

/**
 * Saves to and loads from `folder` (made when missing; a trailing `/model.json` is ignored). A crash may leave files that no
 * `model.json` names; a later save removes them once they are an hour old, when no other process can still be about to name them.
 *
 * @throws FinetuneError `bad-file` on a save over a `model.json` of another format, such as the base model itself.
 */
export function fileHandler(folder: string, fs: FileSystem): tf.io.IOHandler {
  const at = (name: string): string => `${folder.replace(/[\\/]+(model\.json)?$/, '')}/${name}`;
  const readJson = async (): Promise<tf.io.ModelJSON> => JSON.parse(new TextDecoder().decode(await fs.readFile(at('model.json'))));
  return {
    async save(artifacts: tf.io.ModelArtifacts): Promise<tf.io.SaveResult> {
      await fs.mkdir(at(''), { recursive: true });
      const old = await readJson().catch((error: { code?: string }) => {
        if (error.code && error.code !== 'ENOENT') throw error; // else nothing is there, or nothing legible: both may be replaced
      });
      if (old && old.format !== artifacts.format)
        throw new FinetuneError(
          'bad-file',
          'save',
          `${at('model.json')} is no adapter: its format is "${old.format}". Save to another folder.`,
        );
      const fresh = Date.now().toString(36) + Math.random().toString(36).slice(2);
      const [weights, json] = [`weights-${fresh}.bin`, `model.json.${fresh}.tmp`];
      const { modelTopology, format, generatedBy, userDefinedMetadata, weightSpecs } = artifacts;
      const weightsManifest = [{ paths: [weights], weights: weightSpecs }];
      try {
        const shards = [artifacts.weightData ?? []].flat().map((shard) => new Uint8Array(shard));
        await write(fs, at(weights), ...shards);
        await write(fs, at(json), JSON.stringify({ modelTopology, format, generatedBy, userDefinedMetadata, weightsManifest }));
      } catch (error) {
        for (const name of [json, weights]) await fs.rm(at(name), { force: true }).catch(() => undefined);
        throw error;
      }
      await flushFolder(fs, at('')); // the weights' name must not reach the disk after the json that refers to it
      await fs.rename(at(json), at('model.json'));
      await flushFolder(fs, at(''));
      await removeStale(fs, at, old?.weightsManifest?.flatMap(({ paths }) => paths) ?? [], weights).catch(() => undefined);
      return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) };
    },
    load: (): Promise<tf.io.ModelArtifacts> => {
      const load = async (): Promise<tf.io.ModelArtifacts> =>
        tf.io.getModelArtifactsForJSON(await readJson(), async (manifest) => {
          const paths = manifest.flatMap((group) => group.paths);
          const outside = paths.find((path) => !/^[\w.-]+$/.test(path));
          if (outside !== undefined) throw new Error(`model.json names weights outside its folder: "${outside}"`);
          return [tf.io.getWeightSpecs(manifest), await Promise.all(paths.map(async (path) => toArrayBuffer(await fs.readFile(at(path)))))];
        });
      return load().catch(load); // a save in between may have replaced what model.json named
    },
  };
}

/** The bytes of a view alone: Node's Buffers may lie in a larger pool. */
export function toArrayBuffer(view: ArrayBufferView): ArrayBuffer {
  const { buffer, byteOffset, byteLength } = view;
  return (byteLength === buffer.byteLength ? buffer : buffer.slice(byteOffset, byteOffset + byteLength)) as ArrayBuffer;
}

async function write(fs: FileSystem, path: string, ...parts: readonly (string | Uint8Array)[]): Promise<void> {
  const file = await fs.open(path, 'wx');
  try {
    for (const part of parts) await file.writeFile(part);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Windows cannot open a folder, and flushes names by itself. */
async function flushFolder(fs: FileSystem, folder: string): Promise<void> {
  const handle = await fs.open(folder, 'r').catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close().catch(() => undefined);
}

async function removeStale(fs: FileSystem, at: (name: string) => string, replaced: readonly string[], kept: string): Promise<void> {
  for (const name of await fs.readdir(at(''))) {
    if (!ours.test(name) || name === kept) continue;
    if (replaced.includes(name) || Date.now() - (await fs.stat(at(name))).mtimeMs > hour) await fs.rm(at(name), { force: true });
  }
}
