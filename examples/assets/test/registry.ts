/** A registry on the loopback that serves one package of two small files, soundly or in the way a test asks for. */
import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { c as create } from 'tar';
import type { AssetPackage } from '../src/packages.ts';

export interface Registry {
  /** What the package pins. */
  readonly asset: AssetPackage;
  readonly url: string;
  /** How many times the tarball was asked for. */
  readonly tarballs: number;
  /** Takes over the answer to a tarball request. */
  serve: ((response: ServerResponse, tarball: Buffer) => void) | undefined;
  close(): Promise<void>;
}

export async function startRegistry(name: string): Promise<Registry> {
  const folder = await mkdtemp(join(tmpdir(), 'leantune-registry-'));
  const tarball = await tinyTarball(folder, name);
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  const path = `/${name}/-/${name.split('/').pop()}-1.0.0.tgz`;
  const server = createServer((request, response) => {
    const asked = decodeURIComponent(request.url ?? '');
    if (asked === path) {
      registry.tarballs++;
      if (registry.serve) registry.serve(response, tarball);
      else response.end(tarball);
    } else if (asked === `/${name}`) {
      response.setHeader('content-type', 'application/json');
      response.end(
        JSON.stringify({
          name,
          'dist-tags': { latest: '1.0.0' },
          versions: { '1.0.0': { name, version: '1.0.0', dist: { tarball: registry.url + path, integrity } } },
        }),
      );
    } else {
      response.writeHead(404).end('{}');
    }
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const registry = {
    asset: { name, version: '1.0.0', integrity, bytes: tarball.length, licence: 'MIT', files: ['weights/'] },
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    tarballs: 0,
    serve: undefined as Registry['serve'],
    close: async () => {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
      await rm(folder, { recursive: true });
    },
  };
  return registry;
}

async function tinyTarball(folder: string, name: string): Promise<Buffer> {
  const root = join(folder, 'package');
  await mkdir(join(root, 'weights'), { recursive: true });
  await writeFile(join(root, 'package.json'), JSON.stringify({ name, version: '1.0.0' }));
  await writeFile(join(root, 'weights/model.bin'), 'weights of the model'.repeat(1000));
  await create({ file: join(folder, 'package.tgz'), cwd: folder, gzip: true, portable: true }, ['package']);
  return readFile(join(folder, 'package.tgz'));
}
