/** What a result says about its run, and where those of this folder are written. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import * as tf from '@tensorflow/tfjs-core';

export interface Provenance {
  /** What makes the result again, from the root of the repository. */
  readonly command: string;
  readonly date: string;
  /** Null outside a git checkout; `-dirty` if sources differ from it. */
  readonly commit: string | null;
  readonly versions: { readonly node: string; readonly tfjs: string };
  readonly machine: { readonly cpu: string; readonly cores: number; readonly memoryGiB: number };
}

const at = (path: string): URL => new URL(path, import.meta.url);

export const writeResult = (name: string, result: object): void =>
  writeFileSync(at(`results/${name}.json`), `${JSON.stringify(result, null, 2)}\n`);

/** @param script its path in benchmarks/, and what it was called with */
export function provenance(script: string): Provenance {
  return {
    command: `npx tsx --conditions=@leantune/source benchmarks/${script}`,
    date: new Date().toISOString(),
    commit: commit(),
    versions: { node: process.versions.node, tfjs: tf.version_core },
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) },
  };
}

function commit(): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: at('.'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--', ':/packages', ':/benchmarks', ':(exclude,top)benchmarks/*results*');
    return git('rev-parse', '--short=12', 'HEAD') + (changed ? '-dirty' : '');
  } catch {
    return null;
  }
}
