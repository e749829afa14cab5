/**
 * Installs the peers by their names, with pip and npm as they are configured, into a folder of the cache: `peers/python`, a virtual
 * environment, and `peers/node`. What cannot be installed is not run, and the reason is the outcome of its cells.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { cacheFolder } from '@leantune/assets';

type Installed = { readonly path: string } | { readonly notRun: string };

export interface Peers {
  /** An interpreter that imports torch, transformers, peft and keras. */
  readonly python: Installed;
  /** The folder of @jax-js/jax. */
  readonly jaxJs: Installed;
}

const python = ['torch', 'transformers', 'peft', 'keras', 'numpy'];
const jaxJs = '@jax-js/jax@0.1.25';
const folder = (): string => join(cacheFolder(), 'peers');

/** @param install false: takes what is there already */
export function findPeers(install: boolean): Peers {
  return {
    python: find('python', join(folder(), 'python', 'bin', 'python'), install, (at) => {
      run('python3', ['-m', 'venv', at]);
      run(join(at, 'bin', 'python'), ['-m', 'pip', 'install', '--quiet', ...python]);
    }),
    jaxJs: find('node', join(folder(), 'node', 'node_modules', '@jax-js', 'jax'), install, (at) => {
      writeFileSync(join(at, 'package.json'), '{ "private": true }\n');
      run('npm', ['install', '--no-audit', '--no-fund', '--prefix', at, jaxJs]);
    }),
  };
}

/** `path`, once `make` has filled its folder; a folder that is not whole is removed again. */
function find(name: string, path: string, install: boolean, make: (at: string) => void): Installed {
  const at = join(folder(), name);
  const whole = join(at, '.whole');
  if (existsSync(whole)) return { path };
  if (!install) return { notRun: 'not installed; npm run bench installs it' };
  console.log(`installing ${name === 'python' ? python.join(', ') : jaxJs}`);
  try {
    rmSync(at, { recursive: true, force: true });
    mkdirSync(at, { recursive: true });
    make(at);
    writeFileSync(whole, '');
    return { path };
  } catch (error) {
    rmSync(at, { recursive: true, force: true });
    const { message, stderr } = error as Error & { stderr?: Buffer };
    const last = (stderr?.toString() || message).trim().split('\n').at(-1)!;
    return { notRun: `could not be installed: ${last.slice(0, 200)}` };
  }
}

function run(command: string, args: readonly string[]): void {
  execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
}
