/**
 * Runs experiments and writes their results.
 *
 *   npm start -w benchmarks -- [experiment…] [--backend cpu|wasm|tensorflow] [--quick]
 *
 * Each row runs in a process of its own, so that no model's heap or compiled code meets the next. `--quick` runs the small
 * sizes to see that all works; with it, or on another backend than the experiment's, nothing is written. A result is never
 * edited: a newer run of the same experiment replaces it.
 */
import { execFileSync, fork } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, totalmem } from 'node:os';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import core from '@leantune/core/package.json' with { type: 'json' };
import * as tf from '@tensorflow/tfjs-core';
import type { Backend, Experiment, Lever, Result, Row } from './experiment.ts';
import { trainStep } from './tasks/train-step.ts';

const tasks = { 'train-step': trainStep };
const at = (path: string): URL => new URL(path, import.meta.url);

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { backend: { type: 'string' }, quick: { type: 'boolean', default: false } },
});

if (process.send)
  process.once(
    'message',
    ({ experiment, lever }: Job) => void runRow(experiment, lever).then((row) => process.send?.(row, () => process.exit())),
  );
else await main();

interface Job {
  readonly experiment: Experiment;
  readonly lever: Lever;
}

async function main(): Promise<void> {
  for (const name of chosen(positionals)) {
    const experiment = read(name);
    const load = loadavg()[0] as number;
    if (load > cpus().length) console.warn(`load ${load.toFixed(1)} on ${cpus().length} cores: times will say little`);
    console.log(`${name} on ${experiment.backend}`);
    const rows: Row[] = [];
    for (const lever of experiment.levers) {
      const row = await inChild({ experiment, lever });
      rows.push(row);
      console.log(describe(row));
    }
    if (!values.quick && !values.backend)
      writeFileSync(at(`results/${name}.json`), `${JSON.stringify(result(name, experiment, rows, load), null, 2)}\n`);
  }
}

/** The named experiments, or all. */
function chosen(names: readonly string[]): readonly string[] {
  const all = readdirSync(at('experiments/')).map((file) => file.replace(/\.json$/, ''));
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length > 0) throw new Error(`[benchmarks] got ${unknown.join(', ')}; expected experiments among ${all.join(', ')}.`);
  return names.length > 0 ? names : all;
}

function read(name: string): Experiment {
  const experiment = JSON.parse(readFileSync(at(`experiments/${name}.json`), 'utf8')) as Experiment;
  const backend = (values.backend ?? experiment.backend) as Backend;
  return { ...experiment, ...(values.quick && experiment.quick), backend };
}

function inChild(job: Job): Promise<Row> {
  return new Promise((resolve, reject) => {
    const env = { ...process.env, TF_CPU_ALLOCATOR_USE_BFC: '1' }; // or TensorFlow keeps no figures of memory
    const child = fork(at(import.meta.url), [], { stdio: ['ignore', 'ignore', 'pipe', 'ipc'], env });
    let said = '';
    child.stderr?.on('data', (chunk) => (said += String(chunk)));
    child.once('message', (row) => resolve(row as Row));
    child.once('error', reject);
    child.once('exit', (code) =>
      reject(
        new Error(
          `[benchmarks] ${job.experiment.title}, ${job.lever}: the process ended with code ${code} before its row was done.\n${said}`,
        ),
      ),
    );
    child.send(job);
  });
}

async function runRow(experiment: Experiment, lever: Lever): Promise<Row> {
  await useBackend(experiment.backend);
  return tasks[experiment.task](experiment, lever);
}

function result(name: string, experiment: Experiment, rows: readonly Row[], loadBefore: number): Result {
  const { title, backend, model, batch, steps } = experiment;
  return {
    experiment: name,
    title,
    backend,
    model,
    batch,
    steps,
    date: new Date().toISOString(),
    commit: commit(),
    versions: { node: process.versions.node, tfjs: tf.version_core, leantune: core.version },
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, memoryGiB: Math.round(totalmem() / 2 ** 30) },
    load: [loadBefore, loadavg()[0] as number],
    rows,
  };
}

/** The commit that was measured, `-dirty` if anything but results differs from it: each run writes those. */
function commit(): string | null {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: at('.'), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--', ':/', ':(exclude,top)benchmarks/results');
    return git('rev-parse', '--short=12', 'HEAD') + (changed ? '-dirty' : '');
  } catch {
    return null;
  }
}

function describe({ lever, stock, leantune, predict, ratio, equality }: Row): string {
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(2)} MB`;
  const equal = equality.gradientsBitEqual ? 'gradients equal' : `gradients differ by ${equality.maxRelativeDifference.toExponential(1)}`;
  return `  ${lever.padEnd(18)} peak ${mb(stock.peakAboveWeights)} -> ${mb(leantune.peakAboveWeights)} (x${ratio.peak}, predict ${mb(predict.peakAboveWeights)}) · time x${ratio.time} · ${equal}`;
}
