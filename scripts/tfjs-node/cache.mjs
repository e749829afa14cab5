/** Things that are made once per machine: downloads, unpacked libraries, compiled addons. Each appears whole or not at all. */
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, dirname, join } from 'node:path';

/** A way that cannot be gone here, and why. The next one is tried. */
export class Unsuitable extends Error {}

const started = Date.now();
export const say = (message) => console.log(`[setup ${String(((Date.now() - started) / 1000).toFixed(1)).padStart(5)} s] ${message}`);

function root() {
  const { LEANTUNE_CACHE, XDG_CACHE_HOME } = process.env;
  return LEANTUNE_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'leantune');
}

/**
 * The folder `name` of the cache. `make(partial)` fills an empty folder beside it, which then takes its place in one step: a run that
 * is cut off leaves nothing that a later one takes for whole, and two runs at once do not meet.
 */
export async function cached(name, make) {
  const folder = join(root(), name);
  if (existsSync(folder)) {
    say(`found ${name} in the cache`);
    return folder;
  }
  const partial = join(dirname(folder), `.${basename(folder)}.${process.pid}`);
  try {
    rmSync(partial, { recursive: true, force: true });
    mkdirSync(partial, { recursive: true });
  } catch (error) {
    throw new Unsuitable(`nothing can be written to the cache ${root()} (${error.code}); name another folder with LEANTUNE_CACHE`);
  }
  try {
    await make(partial);
    if (!existsSync(folder)) renameSync(partial, folder);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
  return folder;
}

/** Sixteen hex digits that stand for `parts`. */
export function digest(...parts) {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part).update('\0');
  return hash.digest('hex').slice(0, 16);
}
