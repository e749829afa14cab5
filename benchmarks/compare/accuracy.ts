/**
 * What the levers cost in accuracy, beside PyTorch and peft: MiniLM sorts questions about cooking by topic, every method from the same
 * checkpoint, on the same examples in the same order, with the same schedule. The peak is that of forward and backward of this task.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/compare/accuracy.ts [--seeds 1,2] [--only 4bit] [--again]
 *
 * A run that was cut off goes on where it was. PyTorch gets the tokens from here and runs in the environment of `npm run bench`.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import type * as tf from '@tensorflow/tfjs-core';
import { BATCH, batchesOf, fineTune, type Way } from '../tasks/fine-tune.ts';
import { findPeers } from './install.ts';
import { commit, machine } from './machine.ts';
import { type Questions, questions } from './questions.ts';
import { type Places, stackOf } from './stacks.ts';

export interface AccuracyRun {
  readonly accuracy: number;
  readonly trainable: number;
  readonly peakAboveWeights: number;
}

export interface Accuracies {
  readonly data: string;
  readonly model: string;
  readonly batch: number;
  readonly epochs: number;
  readonly parameters: number;
  readonly date: string;
  readonly commit: string | null;
  /** By method, then by seed. */
  readonly methods: { readonly [method: string]: { readonly rate: number; readonly runs: { readonly [seed: string]: AccuracyRun } } };
}

/** Highest learning rates. LaMDA's is five times LoRA's, for S learns slowly. */
const rates: { readonly [method: string]: number } = {
  'leantune: blocks': 1e-4,
  'leantune: blocks + 4bit': 1e-4,
  'leantune: blocks + 4bit + lamda': 1e-2,
  'leantune: blocks + 4bit + lamda + mixed': 1e-2,
  'leantune: blocks + lora': 2e-3,
  'leantune: blocks + biases + 4bit': 2e-3,
  'torch: full': 1e-4,
  'torch: lora': 2e-3,
};

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '1,2' }, only: { type: 'string', default: '' }, again: { type: 'boolean', default: false } },
});
const file = new URL('results/accuracy.json', import.meta.url);

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();

async function main(): Promise<void> {
  await useBackend('tensorflow');
  const task = await questions();
  const first = task.model.getWeights().map((weight) => weight.clone());
  const places: Places = { head: task.head, adapted: (site) => site.kind === 'dense' && /layer\.\d+\./.test(site.name) };
  for (const [method, rate] of Object.entries(rates).filter(([name]) => name.includes(values.only)))
    for (const seed of values.seeds.split(',').map(Number)) {
      if (!values.again && read()?.methods[method]?.runs[seed]) continue;
      console.log(method);
      const stack = stackOf(method.split(': ')[1]!, places);
      const run = method.startsWith('torch')
        ? inPython(task, method, rate, seed)
        : here(task, first, { techniques: stack.techniques, trainable: stack.options.trainable, rate, seed });
      console.log(`  seed ${seed}: ${(100 * run.accuracy).toFixed(2)} %`);
      write(task, method, rate, seed, run);
    }
}

function read(): Accuracies | undefined {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Accuracies) : undefined;
}

function write(task: Questions, method: string, rate: number, seed: number, { accuracy, trainable, peakAboveWeights }: AccuracyRun): void {
  const known = read()?.methods ?? {};
  const runs = { ...known[method]?.runs, [seed]: { accuracy, trainable, peakAboveWeights } };
  const { data, epochs, model } = task;
  const about = { data, model: 'MiniLM', batch: BATCH, epochs, parameters: model.countParams(), date: new Date().toISOString() };
  const result = { ...about, commit: commit(), machine: machine(), methods: { ...known, [method]: { rate, runs } } };
  const temporary = new URL(`${file.href}.writing`);
  writeFileSync(temporary, `${JSON.stringify(result, null, 2)}\n`);
  renameSync(temporary, file);
}

function here(task: Questions, first: tf.Tensor[], way: Way): AccuracyRun {
  const { result: accuracy, ...step } = fineTune(task, first, way, () => task.accuracy());
  return { ...step, accuracy };
}

/** The same task in PyTorch. */
function inPython(task: Questions, method: string, rate: number, seed: number): AccuracyRun {
  const { python } = findPeers(true);
  if ('notRun' in python) throw new Error(`[accuracy] PyTorch ${python.notRun}.`);
  const folder = mkdtempSync(join(tmpdir(), 'leantune-accuracy-'));
  try {
    const job = join(folder, 'job.json');
    writeFileSync(job, JSON.stringify({ ...task.exported(), batches: batchesOf(task, seed), rate, seed, method: method.split(': ')[1] }));
    const script = fileURLToPath(new URL('peers/torch_accuracy.py', import.meta.url));
    const said = execFileSync(python.path, [script, job], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
    return JSON.parse(said.trimEnd().split('\n').at(-1)!) as AccuracyRun;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
