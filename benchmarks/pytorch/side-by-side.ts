/**
 * A training step with LeanTune on tensorflow and one with PyTorch eager, of the same models, batches and number of threads, in turns on
 * one machine: milliseconds that passed, milliseconds of the processor, and what waits for backward.
 *
 *   npm run build && npx tsx benchmarks/pytorch/side-by-side.ts [experiment…] [--python python3] [--rounds 8] [--write]
 *
 * PyTorch runs in a process of its own (train_step.py --serve) that makes a step whenever it is told to, so that the two never run at
 * once. The figures are lower quartiles, as other programs on the machine only ever slow a step down. `encoder` is written in tfjs's ops,
 * as a user would; `bert` is the classifier that @leantune/transformers makes, beside that of Hugging Face transformers.
 * --write leaves rows of experiments that were not asked for.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import { finetune, measure } from '@leantune/core';
import * as tf from '@tensorflow/tfjs-core';
import { bert } from '../models/bert.ts';
import type { EncoderOptions } from '../models/encoder.ts';
import { generator, integers, oneHotRows } from '../models/random.ts';
import { type ModelSpec, makeSubject } from '../models/subject.ts';
import { lowerQuartile } from '../tasks/lower-quartile.ts';
import { leanTrainer } from '../tasks/trainers.ts';

type Spec = ModelSpec | ({ readonly name: 'bert' } & EncoderOptions);
interface Times {
  readonly milliseconds: number;
  readonly processorMilliseconds: number;
}
interface Side extends Times {
  readonly keptBytes: number;
}
export interface PytorchRow {
  readonly experiment: string;
  readonly batch: number;
  readonly rounds: number;
  readonly leantune: Side;
  readonly pytorch: Side;
  readonly ratio: { readonly time: number; readonly processor: number; readonly kept: number };
  /** One-minute load average after; above the number of cores, `time` says little. */
  readonly load: number;
  readonly date: string;
}
export interface PytorchResult {
  readonly versions: { readonly [name: string]: string };
  readonly machine: { readonly cpu: string; readonly cores: number };
  readonly rows: readonly PytorchRow[];
}

const minilm = { layers: 6, width: 384, heads: 12, inner: 1536, vocabulary: 30522, tokens: 128, classes: 6 };
/** Full training of all weights by SGD. */
export const experiments: { readonly [name: string]: { readonly model: Spec; readonly batch: number } } = {
  'mobilenet-v2': { model: { name: 'mobilenet-v2', size: 96, width: 1, classes: 10 }, batch: 16 },
  'resnet-50': { model: { name: 'resnet-50', size: 96, width: 1, classes: 10 }, batch: 8 },
  encoder: { model: { name: 'encoder', ...minilm }, batch: 16 },
  bert: { model: { name: 'bert', ...minilm }, batch: 16 },
};
const LEARNING_RATE = 1e-4;
const FILE = new URL('results.json', import.meta.url);

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { python: { type: 'string', default: 'python3' }, rounds: { type: 'string', default: '8' }, write: { type: 'boolean' } },
  });
  const names = positionals.length > 0 ? positionals : Object.keys(experiments);
  const unknown = names.filter((name) => !experiments[name]);
  if (unknown.length > 0)
    throw new Error(`[side-by-side] got ${unknown.join(', ')}; expected some of ${Object.keys(experiments).join(', ')}.`);
  await useBackend('tensorflow');
  const { binding } = tf.backend() as unknown as { readonly binding: { readonly TF_Version: string } };
  for (const name of names) {
    const python = new Python(values.python, name);
    const row = await compare(name, Number(values.rounds), python);
    const { versions } = python;
    python.end();
    console.log(JSON.stringify(row));
    if (!values.write) continue;
    const before = existsSync(FILE) ? (JSON.parse(readFileSync(FILE, 'utf8')) as PytorchResult).rows : [];
    const rows = [...before.filter(({ experiment }) => experiment !== name), row];
    const result: PytorchResult = {
      versions: { node: process.versions.node, tfjs: tf.version_core, tensorflow: binding.TF_Version, ...versions },
      machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length },
      rows: Object.keys(experiments).flatMap((of) => rows.find(({ experiment }) => experiment === of) ?? []),
    };
    writeFileSync(FILE, `${JSON.stringify(result, null, 2)}\n`);
  }
}

/** A process that makes steps of one model. */
class Python {
  versions: { readonly [name: string]: string } = {};
  readonly #child;
  readonly #lines;

  constructor(python: string, name: string) {
    const { model, batch } = experiments[name]!;
    const program = new URL('train_step.py', import.meta.url).pathname;
    const args = [program, '--serve', JSON.stringify({ model, batch }), '--threads', String(cpus().length)];
    this.#child = spawn(python, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async #line<T>(): Promise<T> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error('[side-by-side] the PyTorch process ended; what it said stands above.');
    return JSON.parse(value) as T;
  }

  async begin(): Promise<number> {
    const { keptBytes, ...versions } = await this.#line<{ keptBytes: number } & { [name: string]: string }>();
    this.versions = versions;
    return keptBytes;
  }

  async step(): Promise<Times> {
    this.#child.stdin.write('step\n');
    return this.#line();
  }

  end(): void {
    this.#child.stdin.end();
  }
}

async function compare(experiment: string, rounds: number, python: Python): Promise<PytorchRow> {
  const { model, batch } = experiments[experiment]!;
  const step = stepOf(model, batch);
  const kept = [await python.begin(), (await measure(step)).memory.keptBytes] as const;
  const times = { leantune: [] as Times[], pytorch: [] as Times[] };
  for (let round = -3; round < rounds; round++) {
    const ours = await timed(step);
    const theirs = await python.step();
    if (round < 0) continue; // both warm up
    times.leantune.push(ours);
    times.pytorch.push(theirs);
  }
  const side = (list: readonly Times[], keptBytes: number): Side => ({
    milliseconds: round(lowerQuartile(list.map((time) => time.milliseconds))),
    processorMilliseconds: round(lowerQuartile(list.map((time) => time.processorMilliseconds))),
    keptBytes,
  });
  const [leantune, pytorch] = [side(times.leantune, kept[1]), side(times.pytorch, kept[0])];
  const ratio = {
    time: round(leantune.milliseconds / pytorch.milliseconds),
    processor: round(leantune.processorMilliseconds / pytorch.processorMilliseconds),
    kept: round(leantune.keptBytes / pytorch.keptBytes),
  };
  return { experiment, batch, rounds, leantune, pytorch, ratio, load: loadavg()[0]!, date: new Date().toISOString() };
}

function stepOf(model: Spec, batch: number): () => Promise<unknown> {
  const optimizer = tf.train.sgd(LEARNING_RATE);
  if (model.name !== 'bert') {
    const trainer = leanTrainer(makeSubject(model, batch, 17), 'full');
    return () => trainer.step(optimizer);
  }
  const next = generator(17);
  const classifier = bert(model, next);
  const tuned = finetune(classifier, [], { trainable: /./ });
  classifier.compile({ optimizer: tuned.optimizer(optimizer), loss: (y, logits) => tf.losses.softmaxCrossEntropy(y, logits) });
  const ids = tf.tensor2d(integers(batch * model.tokens, model.vocabulary, next), [batch, model.tokens], 'int32');
  const mask = tf.ones([batch, model.tokens], 'int32');
  const y = tf.tensor2d(oneHotRows(batch, model.classes, next), [batch, model.classes]);
  return () => classifier.trainOnBatch([ids, mask], y);
}

async function timed(step: () => Promise<unknown>): Promise<Times> {
  const [start, processor] = [performance.now(), process.cpuUsage()];
  await step();
  const { user, system } = process.cpuUsage(processor);
  return { milliseconds: performance.now() - start, processorMilliseconds: (user + system) / 1e3 };
}

const round = (value: number): number => Number(value.toPrecision(3));

if (process.argv[1] === import.meta.filename) await main();
