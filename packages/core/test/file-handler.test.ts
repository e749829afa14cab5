import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as realFs from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { build } from 'esbuild';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readAdapter, writeAdapter } from '../src/adapters/adapter-file.ts';
import { type FileSystem, fileHandler } from '../src/adapters/file-handler.ts';
import { FinetuneError } from '../src/errors.ts';

const size = 500;
let folder: string;
let before: number;
beforeEach(async () => {
  folder = await realFs.mkdtemp(join(tmpdir(), 'adapter-'));
  before = tf.memory().numTensors;
});
afterEach(async () => {
  expect(tf.memory().numTensors).toBe(before);
  await realFs.rm(folder, { recursive: true });
});

/** Saves an adapter whose header and tensors all say `k`. */
async function save(k: number, to: string | tf.io.IOHandler = `file://${folder}`): Promise<void> {
  const tensors = { a: tf.fill([size], k), b: tf.fill([7], k, 'int32') };
  try {
    await writeAdapter(to, { techniques: [{ name: 'k', options: k }], base: [] }, tensors);
  } finally {
    tf.dispose(tensors);
  }
}

/** The k of the adapter there is, after checking that all of it says so. */
async function load(from: string | tf.io.IOHandler = `file://${folder}`): Promise<number> {
  const { header, tensors } = await readAdapter(from);
  const k = header.techniques[0]!.options as number;
  for (const tensor of Object.values(tensors)) expect(new Set(await tensor.data())).toEqual(new Set([k]));
  tf.dispose(tensors);
  return k;
}

interface Fault {
  /** Which operation fails, from 1. */
  readonly at: number;
  /** Fails it and every later one, as a kill would; else that one alone. */
  readonly dead: boolean;
  /** How much of a failing write reaches the disk. */
  readonly share: number;
}

/** The real file system until the fault; a write then stops part way. */
function failing({ at, dead, share }: Fault): { fs: FileSystem; failed: () => boolean } {
  let operations = 0;
  let failed = false;
  const fails = (): boolean => {
    operations++;
    const now = dead ? operations >= at : operations === at;
    failed ||= now;
    return now;
  };
  const full = (): Error => Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' });
  const wrap =
    <A extends unknown[], R>(run: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (fails()) throw full();
      return run(...args);
    };
  const fs: FileSystem = {
    mkdir: wrap(realFs.mkdir),
    readFile: wrap((path: string) => realFs.readFile(path)),
    rename: wrap(realFs.rename),
    rm: wrap(realFs.rm),
    readdir: wrap((path: string) => realFs.readdir(path)),
    stat: wrap((path: string) => realFs.stat(path)),
    open: wrap(async (path: string, flags: string) => {
      const file = await realFs.open(path, flags);
      return {
        writeFile: async (data) => {
          if (!fails()) return file.writeFile(data);
          await file.writeFile(data.slice(0, Math.floor(data.length * share)));
          throw full();
        },
        sync: wrap(() => file.sync()),
        close: async () => {
          await file.close(); // a kill closes files too
          if (fails()) throw full();
        },
      };
    }),
  };
  return { fs, failed: () => failed };
}

test.each([
  // mkdir, readFile, 2 × (open, writeFile, sync, close), rename; what fails later is of no consequence
  { dead: false, share: 0, expected: 11 },
  { dead: false, share: 0.5, expected: 11 },
  // and, when nothing works any more, the flush before the rename
  { dead: true, share: 0.5, expected: 14 },
  { dead: true, share: 1, expected: 14 },
])('a save that fails at any operation leaves the old adapter or the new one, and says which: %o', async ({ expected, ...how }) => {
  let failures = 0;
  for (let at = 1, last = false; !last; at++) {
    const place = `${folder}/${at}`;
    await save(1, `file://${place}`);
    const { fs, failed } = failing({ ...how, at });
    const error: unknown = await save(2, fileHandler(place, fs)).catch((e: unknown) => e);
    expect(await load(`file://${place}`)).toBe(error === undefined ? 2 : 1);
    if (error !== undefined) {
      failures++;
      expect(FinetuneError.is(error) && error.code).toBe('bad-file');
      expect((error as Error).message).toContain('ENOSPC');
      expect(((error as Error).cause as { code: string }).code).toBe('ENOSPC');
    }
    await save(3, `file://${place}`); // the next save works in whatever is left
    expect(await load(`file://${place}`)).toBe(3);
    last = !failed();
  }
  expect(failures).toBe(expected);
});

test('a failed save removes what it wrote, a good one what it replaced', async () => {
  await save(1);
  const names = await realFs.readdir(folder);
  expect(names.sort()).toEqual(['model.json', expect.stringMatching(/^weights-\w+\.bin$/)]);
  await expect(save(2, fileHandler(folder, failing({ at: 8, dead: false, share: 0.5 }).fs))).rejects.toThrow('ENOSPC');
  expect((await realFs.readdir(folder)).sort()).toEqual(names);
  await save(3);
  expect(await realFs.readdir(folder)).toHaveLength(2);
  expect(await load()).toBe(3);
});

test('what a crash left is removed once it is an hour old; files of others never', async () => {
  await save(1);
  const [old, young, foreign] = ['weights-old1.bin', 'model.json.new1.tmp', 'weights.bin'];
  for (const name of [old, young, foreign]) await realFs.writeFile(join(folder, name), 'x');
  const past = new Date(Date.now() - 2 * 3_600_000);
  for (const name of [old, foreign]) await realFs.utimes(join(folder, name), past, past);
  await save(2);
  const names = await realFs.readdir(folder);
  expect(names).not.toContain(old);
  expect(names).toEqual(expect.arrayContaining([young, foreign]));
});

test('saves at the same time leave one whole adapter', async () => {
  await Promise.all([1, 2, 3, 4, 5].map((k) => save(k)));
  expect([1, 2, 3, 4, 5]).toContain(await load());
});

test('a save during a load does no harm', async () => {
  await save(1);
  let saved = false;
  const between: FileSystem = {
    ...realFs,
    readFile: async (path) => {
      const bytes = await realFs.readFile(path);
      if (!saved && path.endsWith('model.json')) {
        saved = true;
        await save(2); // and the weights just read about are gone
      }
      return bytes;
    },
  } as FileSystem;
  expect(await load(fileHandler(folder, between))).toBe(2);
});

test('weights outside the folder are not read', async () => {
  await save(1);
  const json = JSON.parse(await realFs.readFile(join(folder, 'model.json'), 'utf8'));
  for (const path of ['../secret', '/etc/passwd', 'a/b', '']) {
    json.weightsManifest[0].paths = [path];
    await realFs.writeFile(join(folder, 'model.json'), JSON.stringify(json));
    await expect(load()).rejects.toThrow(
      `[load] "file://${folder}" could not be read: model.json names weights outside its folder: "${path}"`,
    );
  }
});

test('a process killed while it saves leaves an adapter that loads, twenty times', { timeout: 180_000 }, async () => {
  await save(0);
  const outfile = join(folder, 'save-forever.mjs');
  const source = join(import.meta.dirname, 'fixtures', 'save-forever.ts');
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" }; // tfjs-core requires 'util'
  await build({ entryPoints: [source], outfile, bundle: true, banner, format: 'esm', platform: 'node', mainFields: ['module', 'main'] });
  for (let i = 0; i < 20; i++) {
    const from = (await load()) + 1;
    const child = spawn(process.execPath, [outfile, folder, `${from}`, `${size}`], { stdio: ['ignore', 'pipe', 'inherit'] });
    const exit = once(child, 'exit');
    const [said] = await Promise.race([once(child.stdout, 'data'), exit]);
    expect(`${said}`).toBe('saved\n'); // the first of its saves is done
    await new Promise((resolve) => setTimeout(resolve, (i * 7) % 40)); // kills fall on different moments of a save
    child.kill('SIGKILL');
    await exit;
    expect(await load()).toBeGreaterThanOrEqual(from);
  }
});
