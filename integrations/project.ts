/** A fresh project outside of this repository, in which lies what npm would publish. */
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { publishedPackages } from '../scripts/packages.ts';

const root: string = join(import.meta.dirname, '..');
const execute = promisify(execFile);

/** Packs every published package and installs the tarballs beside the programs of `apps/`. @returns the project's folder */
export async function freshProject(): Promise<string> {
  const project = mkdtempSync(join(tmpdir(), 'leantune-consumer-'));
  cpSync(join(import.meta.dirname, 'apps'), project, { recursive: true });
  const workspaces = publishedPackages().flatMap(({ name }) => ['--workspace', name]);
  await execute('npm', ['pack', '--ignore-scripts', '--pack-destination', project, ...workspaces], { cwd: root });
  const tarballs = readdirSync(project).filter((file) => file.endsWith('.tgz'));
  const quiet = ['--no-audit', '--no-fund', '--no-package-lock', '--prefer-offline', '--loglevel=error', '--ignore-scripts=false'];
  // Bun's program comes by its install script, which apps/package.json allows; a peer range that does not fit the packages beside it is an error here, as pnpm and yarn make it
  await execute('npm', ['install', '--strict-peer-deps', ...quiet, ...tarballs.map((file) => `./${file}`)], { cwd: project });
  return project;
}

/**
 * Runs a program in `folder`, without what npm and this repository put into the environment.
 *
 * @returns what it printed
 * @throws an error with all that it printed as `stdout`, where it fails
 */
export async function runIn(folder: string, command: string, ...args: readonly string[]): Promise<string> {
  const { NODE_OPTIONS: _, NODE_PATH: __, ...env } = process.env;
  const options = { cwd: folder, env: { ...env, NO_COLOR: '1', DENO_NO_UPDATE_CHECK: '1' }, maxBuffer: 2 ** 26, timeout: 120_000 };
  try {
    return (await execute(command, args, options)).stdout;
  } catch (error) {
    const { stdout = '', stderr = '', message } = error as { stdout?: string; stderr?: string; message: string };
    throw Object.assign(new Error(`${message.split('\n')[0]}\n${stdout.slice(-2000)}${stderr.slice(-4000)}`), { stdout });
  }
}
