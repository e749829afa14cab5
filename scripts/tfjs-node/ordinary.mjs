/** tfjs-node's own install script, where its hosts answer at once; it has no time-out of its own. */
import { spawnSync } from 'node:child_process';
import { delimiter, join } from 'node:path';
import { say, Unsuitable } from './cache.mjs';

const SECONDS = 3;

export async function ordinary({ gpu, folder }) {
  const host = 'https://storage.googleapis.com/tf-builds/';
  await fetch(host, { method: 'HEAD', signal: AbortSignal.timeout(SECONDS * 1000) }).catch((error) => {
    throw new Unsuitable(`${host} did not answer within ${SECONDS} s (${error.cause?.code ?? error.name})`);
  });
  say('running scripts/install.js');
  const path = [join(import.meta.dirname, '../../node_modules/.bin'), process.env.PATH].join(delimiter);
  const { status } = spawnSync(process.execPath, ['scripts/install.js', ...(gpu ? ['gpu', 'download'] : [])], {
    cwd: folder,
    env: { ...process.env, PATH: path },
    stdio: 'inherit',
  });
  if (status !== 0) throw new Unsuitable(`scripts/install.js ended with status ${status}`);
  if (gpu) return 'It needs CUDA 11.2 and cuDNN 8.1. For a newer CUDA: npm run setup:tfjs-node -- --gpu --only wheel';
  return 'Ops of our own and allocatorStats() need addons of ours as well: npm run setup:tfjs-node -- --force --only wheel';
}
