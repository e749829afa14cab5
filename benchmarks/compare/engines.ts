/** How a cell runs: a process of its own for each, so that no engine's heap or compiled code meets the next. */
import { execFile, fork } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Engine, Figures, Job, Outcome } from './cell.ts';
import type { Peers } from './install.ts';

export type Ran = Outcome & { readonly versions?: { readonly [name: string]: string } };

const LONGEST_MS = 30 * 60_000;
const at = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

/** Never throws: why a cell has no figures is an outcome. */
export async function runCell(job: Job, peers: Peers): Promise<Ran> {
  try {
    return await runners[job.cell.engine](job, peers);
  } catch (error) {
    return { notRun: reasonOf(error) };
  }
}

const runners: { readonly [engine in Engine]: (job: Job, peers: Peers) => Promise<Ran> } = {
  stock: inChild,
  leantune: inChild,
  torch: (job, peers) => inPython('peers/torch_cell.py', job, peers),
  keras: (job, peers) => inPython('peers/keras_cell.py', job, peers),
  'jax-js': async (job, { jaxJs }) =>
    'notRun' in jaxJs ? jaxJs : printed(process.execPath, [...process.execArgv, at('peers/jax-cell.ts'), jaxJs.path], job),
};

async function inPython(script: string, job: Job, { python }: Peers): Promise<Ran> {
  return 'notRun' in python ? python : printed(python.path, [at(script)], job);
}

/** What a program prints last, given the job as its last argument. */
async function printed(command: string, args: readonly string[], job: Job): Promise<Ran> {
  const threads = cpus().length;
  const { stdout } = await promisify(execFile)(command, [...args, JSON.stringify({ ...job, threads })], {
    timeout: LONGEST_MS,
    maxBuffer: 2 ** 26,
  });
  return JSON.parse(stdout.trimEnd().split('\n').at(-1)!) as Ran;
}

function inChild(job: Job): Promise<Figures> {
  return new Promise((resolve, reject) => {
    const child = fork(at('tfjs-cell.ts'), [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], timeout: LONGEST_MS });
    let said = '';
    child.stderr?.on('data', (chunk) => (said += String(chunk)));
    child.once('message', (figures) => resolve(figures as Figures));
    child.once('error', reject);
    child.once('close', (code, signal) => reject(new Error(`${said}\nthe process ended with ${signal ?? `code ${code}`}`)));
    child.send(job);
  });
}

/** The line of an error that says most, without paths of this machine. */
export function reasonOf(error: unknown): string {
  const { message, stderr, killed } = error as Error & { stderr?: string; killed?: boolean };
  if (killed) return `took more than ${LONGEST_MS / 60_000} minutes`;
  const lines = (stderr || message).trim().split('\n');
  const named = lines.filter((line) => /^\s*(\w*(Error|Exception))\b|^\[/.test(line));
  return (named.at(-1) ?? lines.at(-1)!).trim().slice(0, 300);
}
