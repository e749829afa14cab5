/**
 * Loads corrupted files, and asks of each: refused by an error of ours with nothing changed, or loaded with the values it holds? Within the
 * memory of a file of its size? No tensor left behind?
 *
 *   npx tsx --conditions=@leantune/source benchmarks/reliability/fuzz.ts [--cases 100000] [--only NAME] [--seed 1] [--write]
 *
 * Corruptions are drawn by fast-check from the seed. The loaders run in a process of its own, which is ended if it is silent for a minute.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import { FinetuneError } from '@leantune/core';
import * as tf from '@tensorflow/tfjs';
import fc from 'fast-check';
import { nothingMade, watchAllocations } from './allocations.ts';
import { type Corruption, corrupt } from './corruptions.ts';
import { adapterLoader, checkpointLoader, type Files, type Loader, peftLoader, restoreLoader, safetensorsLoader } from './loaders.ts';
import { type Provenance, provenance, writeResult } from './result.ts';

export interface Tally {
  readonly loader: string;
  readonly fileBytes: number;
  cases: number;
  refused: number;
  loaded: number;
  /** Corruptions that changed nothing, such as a copy of an equal value. */
  unchanged: number;
  /** The largest buffer that a case asked for. */
  largestBuffer: number;
  /** All buffers of one case together, at most. */
  mostBytes: number;
  slowestMs: number;
  readonly faults: string[];
}

export interface FuzzResult extends Provenance {
  readonly seed: number;
  readonly fastCheck: string;
  readonly tallies: readonly Tally[];
  readonly peakRss: number;
}

/** A buffer may be as large as the next power of two above twice the file, and 64 KiB in any case. */
export const bound = (fileBytes: number): number => Math.max(65_536, 2 ** Math.ceil(Math.log2(2 * fileBytes)));

/** What loads, and its share of the cases. */
export const loaders: readonly (readonly [share: number, make: (folder: string) => Promise<Loader>])[] = [
  [0.2, (folder) => adapterLoader('lora', folder)],
  [0.1, (folder) => adapterLoader('lamda', folder)],
  [0.1, (folder) => adapterLoader('plain', folder)],
  [0.1, (folder) => adapterLoader('lora', folder, true)],
  [0.1, (folder) => restoreLoader(folder)],
  [0.15, () => peftLoader()],
  [0.1, () => safetensorsLoader(true)],
  [0.1, () => safetensorsLoader(false)],
  [0.05, () => checkpointLoader()],
];

const CHUNK = 200;

/** Every fault is listed with what makes it again. */
export async function fuzz(loader: Loader, cases: number, seed: number, onChunk?: (done: number) => void): Promise<Tally> {
  const fileBytes = [...loader.files.values()].reduce((sum, { length }) => sum + length, 0);
  const tally: Tally = {
    loader: loader.name,
    fileBytes,
    cases: 0,
    refused: 0,
    loaded: 0,
    unchanged: 0,
    largestBuffer: 0,
    mostBytes: 0,
    slowestMs: 0,
    faults: [],
  };
  const corruption = fc.oneof(
    ...Object.entries(loader.corruptions).map(([file, arbitrary]) => fc.record({ file: fc.constant(file), corruption: arbitrary })),
  );
  while (tally.cases < cases) {
    for (const one of fc.sample(corruption, { numRuns: Math.min(CHUNK, cases - tally.cases), seed: seed + tally.cases }))
      await runCase(loader, one, tally);
    onChunk?.(tally.cases);
  }
  return tally;
}

async function runCase(
  loader: Loader,
  { file, corruption }: { readonly file: string; readonly corruption: Corruption },
  tally: Tally,
): Promise<void> {
  const bytes = corrupt(loader.files.get(file)!, corruption);
  const damaged: Files = new Map(loader.files).set(file, bytes);
  const files = loader.forge?.(damaged) ?? damaged;
  const [made, { numTensors }, start] = [nothingMade(), tf.memory(), performance.now()];
  const faults: string[] = [];
  let loaded = false;
  try {
    await watchAllocations(await loader.load(files), made);
    loaded = true;
  } catch (error) {
    if (!FinetuneError.is(error))
      faults.push(`threw ${String(error instanceof Error ? error.stack?.split('\n').slice(0, 4).join(' ') : error)}`);
  }
  tally.slowestMs = Math.max(tally.slowestMs, performance.now() - start);
  const wrong = await loader.judge(files, loaded);
  if (wrong) faults.push(wrong);
  if (tf.memory().numTensors !== numTensors) faults.push(`left ${tf.memory().numTensors - numTensors} tensors`);
  if (made.largest > bound(tally.fileBytes)) faults.push(`asked for a buffer of ${made.largest} bytes`);
  tally.cases++;
  if (loaded) tally.loaded++;
  else tally.refused++;
  if (Buffer.compare(bytes, loader.files.get(file)!) === 0) tally.unchanged++;
  tally.largestBuffer = Math.max(tally.largestBuffer, made.largest);
  tally.mostBytes = Math.max(tally.mostBytes, made.total);
  for (const fault of faults) tally.faults.push(`case ${tally.cases}, ${file}: ${fault}; ${fc.stringify(corruption)}`);
}

interface Job {
  readonly index: number;
  readonly cases: number;
  readonly seed: number;
}

/** Runs `job` here, and says after each chunk that it lives. */
async function work({ index, cases, seed }: Job): Promise<{ readonly tally: Tally; readonly peakRss: number }> {
  const folder = mkdtempSync(join(tmpdir(), 'fuzz-'));
  try {
    await useBackend('cpu');
    const loader = await loaders[index]![1](folder);
    const tally = await fuzz(loader, cases, seed, (done) => process.send!({ done }));
    return { tally, peakRss: process.resourceUsage().maxRSS * 1024 };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function inChild(job: Job): ReturnType<typeof work> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(import.meta.url), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    let last = 0;
    const silent = () => {
      child.kill('SIGKILL');
      reject(new Error(`[fuzz] loader ${job.index} hung within ${CHUNK} cases after case ${last}, seed ${job.seed}`));
    };
    let watchdog = setTimeout(silent, 60_000);
    child.on('message', (message: { readonly done?: number; readonly tally?: Tally; readonly peakRss?: number }) => {
      clearTimeout(watchdog);
      watchdog = setTimeout(silent, 60_000);
      last = message.done ?? last;
      if (message.tally) resolve(message as Awaited<ReturnType<typeof work>>);
    });
    child.on('exit', (code, signal) => {
      clearTimeout(watchdog);
      reject(
        new Error(`[fuzz] loader ${job.index} crashed (${code ?? signal}) within ${CHUNK} cases after case ${last}, seed ${job.seed}`),
      );
    });
    child.send(job);
  });
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      cases: { type: 'string', default: '100000' },
      only: { type: 'string' },
      seed: { type: 'string', default: '1' },
      write: { type: 'boolean', default: false },
    },
  });
  const [cases, seed] = [Number(values.cases), Number(values.seed)];
  const tallies: Tally[] = [];
  let peakRss = 0;
  const waiting = [...loaders.entries()].filter(([index]) => values.only === undefined || Number(values.only) === index);
  const next = async (): Promise<void> => {
    for (let job = waiting.shift(); job; job = waiting.shift()) {
      const [index, [share]] = job;
      const result = await inChild({ index, cases: Math.round(share * cases), seed: seed + index * 1_000_000 });
      tallies[index] = result.tally;
      peakRss = Math.max(peakRss, result.peakRss);
      const { faults, ...figures } = result.tally;
      console.log(JSON.stringify(figures), `${faults.length} faults`);
      for (const fault of faults.slice(0, 12)) console.log(`  ${fault}`);
      if (faults.length > 0) process.exitCode = 1;
    }
  };
  await Promise.all([next(), next()]);
  const result: FuzzResult = {
    ...provenance(`reliability/fuzz.ts --cases ${cases} --seed ${seed} --write`),
    seed,
    fastCheck: fc.__version,
    tallies,
    peakRss,
  };
  if (values.write) writeResult('fuzz', result);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  if (process.send) process.once('message', (job: Job) => void work(job).then((result) => process.send!(result, () => process.exit())));
  else await main();
}
