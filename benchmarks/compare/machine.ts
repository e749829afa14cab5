/** Where a result was measured, without naming the machine. */
import { execFileSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import core from '@leantune/core/package.json' with { type: 'json' };
import { version_core } from '@tensorflow/tfjs-core';
import type { Cell } from './cell.ts';
import type { Machine } from './store.ts';

export const machine = (): Machine => ({
  cpu: cpus()[0]?.model ?? 'unknown',
  cores: cpus().length,
  memoryGiB: Math.round(totalmem() / 2 ** 30),
});

/** What the engines in Node are; peers in other languages add their own. */
export function versions({ engine }: Cell): { readonly [name: string]: string } {
  const node = process.versions.node;
  if (engine === 'stock') return { node, tfjs: version_core };
  return engine === 'leantune' ? { node, tfjs: version_core, leantune: core.version } : {};
}

/** The commit that was measured, `-dirty` if anything but results differs from it; null outside a checkout. */
export function commit(): string | null {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { cwd: new URL('.', import.meta.url), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git(
      'status',
      '--porcelain',
      '--',
      ':/',
      ':(exclude,top)benchmarks/**/results',
      ':(exclude,top,glob)benchmarks/**/results/**',
    );
    return git('rev-parse', '--short=12', 'HEAD') + (changed ? '-dirty' : '');
  } catch {
    return null;
  }
}
