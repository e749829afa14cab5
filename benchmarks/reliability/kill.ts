/**
 * Kills a process at random moments of saving (SIGKILL, which nothing can catch), and loads what is on disk then: it must be one whole
 * version, and none older than the last that was reported as saved.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/reliability/kill.ts [--kills 200] [--seed 1] [--write]
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { adamW, finetune } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-backend-cpu';
import { build } from 'esbuild';
import fc from 'fast-check';
import { type Provenance, provenance, writeResult } from './result.ts';

export interface KillTally {
  readonly kills: number;
  /** Bytes of a version on disk. */
  readonly fileBytes: number;
  /** Kills that left a file which no model.json names: a save was under way. */
  readonly amidSave: number;
  /** Kills after which the version on disk was the last one reported, or one whose report was cut off. */
  readonly old: number;
  readonly fresh: number;
  readonly faults: readonly string[];
}

export interface KillResult extends Provenance, KillTally {
  readonly seed: number;
}

/** Over some twenty saves, in ms. */
const moments = fc.noBias(fc.integer({ min: 0, max: 300_000 })).map((us) => us / 1000);

export async function killWhileSaving(kills: number, seed: number): Promise<KillTally> {
  const folder = await mkdtemp(join(tmpdir(), 'kill-'));
  const adapter = join(folder, 'adapter');
  try {
    const program = await bundle(folder);
    const faults: string[] = [];
    const left = new Set<string>();
    let [version, amidSave, old, fresh, fileBytes] = [0, 0, 0, 0, 0];
    for (const [i, moment] of fc.sample(moments, { numRuns: kills, seed }).entries()) {
      const last = await saveUntilKilled(program, adapter, version + 1, moment);
      const unnamed = await unnamedFiles(adapter);
      if (unnamed.some((name) => !left.has(name))) amidSave++;
      for (const name of unnamed) left.add(name);
      const found = await versionOf(adapter).catch((error: Error) => error.message);
      if (typeof found !== 'object') {
        faults.push(`kill ${i} at ${moment} ms after version ${last}: ${found}`);
        continue;
      }
      if (found.version === last) old++;
      else if (found.version === last + 1) fresh++;
      else faults.push(`kill ${i} at ${moment} ms: version ${found.version} on disk after ${last} was reported`);
      ({ version } = found);
      fileBytes = found.bytes;
    }
    return { kills, fileBytes, amidSave, old, fresh, faults };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Plain JavaScript: starts in a second. */
async function bundle(folder: string): Promise<string> {
  const outfile = join(folder, 'saver.mjs');
  const banner = { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" };
  await build({
    entryPoints: [fileURLToPath(new URL('saver.ts', import.meta.url))],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    conditions: ['@leantune/source'],
    mainFields: ['module', 'main'],
    banner,
    logLevel: 'error',
  });
  return outfile;
}

/** The last version that the process reported before it was killed, `ms` after it had saved one. */
function saveUntilKilled(program: string, folder: string, first: number, ms: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [program, folder, String(first)], { stdio: ['ignore', 'pipe', 'inherit'] });
    let said = '';
    child.stdout.on('data', (chunk) => {
      if (said === '') setTimeout(() => child.kill('SIGKILL'), ms);
      said += String(chunk);
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (signal !== 'SIGKILL') reject(new Error(`[kill] the saving process ended by itself with ${code ?? signal}`));
      resolve(Number(said.match(/^\d+(?=\n)/gm)!.at(-1)));
    });
  });
}

/** What a save that was cut off leaves: files that the present model.json does not name. */
async function unnamedFiles(folder: string): Promise<string[]> {
  const json = JSON.parse(await readFile(join(folder, 'model.json'), 'utf8'));
  const named: string[] = ['model.json', ...json.weightsManifest[0].paths];
  return (await readdir(folder)).filter((name) => !named.includes(name));
}

/** Loads what is there into the same model. Every value of a version is its number. */
async function versionOf(folder: string): Promise<{ readonly version: number; readonly bytes: number }> {
  const variable = (name: string) => tf.variable(tf.zeros([64_000]), true, `${name}`);
  const [kernel, bias] = [variable('kernel'), variable('bias')];
  const tuned = finetune({ kernel, bias });
  const optimizer = tuned.optimizer(adamW());
  try {
    await tuned.load(`file://${folder}`, { optimizer });
    const values = [...kernel.dataSync(), ...bias.dataSync()];
    const version = values[0]!;
    if (values.some((value) => value !== version)) throw new Error(`values of version ${version} and of others in one file`);
    return { version, bytes: 4 * values.length * 3 };
  } finally {
    tuned.dispose();
    optimizer.dispose();
    tf.dispose([kernel, bias]);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '200' },
      seed: { type: 'string', default: '1' },
      write: { type: 'boolean', default: false },
    },
  });
  const [kills, seed] = [Number(values.kills), Number(values.seed)];
  const tally = await killWhileSaving(kills, seed);
  console.log(tally);
  const result: KillResult = { ...provenance(`reliability/kill.ts --kills ${kills} --seed ${seed} --write`), seed, ...tally };
  if (values.write) writeResult('kill', result);
  if (tally.faults.length > 0) process.exitCode = 1;
}
