/**
 * What S2A costs in accuracy: a pretrained model fine-tuned in full, by each of S2A's modules alone, and by the whole preset.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/s2a/accuracy.ts --model minilm|minilm-movies|resnet-50 [--mode full --mode S2A] [--minutes 5]
 *
 * `minilm` sorts questions about cooking by topic, `minilm-movies` reviews by whether they are for the film, `resnet-50` photos of
 * CIFAR-10. All runs start from a head that has learned on frozen features, and see the same examples as often. First a learning rate is
 * chosen for each mode, by what one run a rate gets right of examples held out of the training split: three rates, and others a half power
 * of ten beyond while the outermost is best. Then come three seeds a mode with that rate, and the test set, which nothing has seen before.
 * A seed decides the order of the examples, the head's first weights and what is new in the model.
 *
 * Every run is written to results/accuracy-<model>.json, and none that is there is made again: delete the file to begin anew.
 */
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import type { Technique } from '@leantune/core';
import { biasTuning, fourBit, liteSideBranch, lowRankPrompt, s2a } from '@leantune/s2a';
import { BATCH, fineTune } from '../tasks/fine-tune.ts';
import { HEAD, type Split, tasks } from './tasks.ts';

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'minilm' },
    mode: { type: 'string', multiple: true },
    minutes: { type: 'string', default: '1000' },
  },
});
const seeds = [1, 2, 3];
const ladder = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1];

interface Mode {
  /** Of the three rates tried first, the middle one; or the mode whose rate is taken. */
  readonly rate: number | string;
  readonly make: (seed: number) => readonly Technique[];
}

/** Ranks and widths: at most 0.9 % of the weights train. */
const small = values.model!.startsWith('minilm') ? { rank: 4, width: 64 } : { rank: 1, width: 32 };
const modes: { readonly [what: string]: Mode } = {
  full: { rate: 1e-4, make: () => [] },
  S2A: { rate: 1e-2, make: (seed) => s2a({ prompt: { rank: small.rank, seed }, side: { width: small.width, seed } }) },
  biases: { rate: 3e-3, make: () => [biasTuning()] },
  'biases, 4 bits': { rate: 'biases', make: () => [biasTuning(), fourBit()] },
  prompt: { rate: 1e-2, make: (seed) => [lowRankPrompt({ rank: 4, seed })] },
  'side branch': { rate: 3e-3, make: (seed) => [liteSideBranch({ width: small.width, seed })] },
};

interface Row {
  readonly what: string;
  readonly trainable: number;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
  readonly rate: number;
  /** By seed. */
  readonly accuracy: readonly number[];
}

export interface AccuracyResult {
  readonly model: string;
  readonly data: string;
  readonly batch: number;
  readonly epochs: number;
  readonly backend: string;
  readonly parameters: number;
  /** Share of the held-out examples that a rate gets right. */
  readonly search: readonly { readonly what: string; readonly rate: number; readonly validation: number }[];
  readonly rows: readonly Row[];
}

if (!Object.hasOwn(tasks, values.model))
  throw new Error(`[accuracy] got --model ${values.model}; expected one of ${Object.keys(tasks).join(', ')}.`);
const chosen = values.mode ?? Object.keys(modes);
const unknown = chosen.filter((what) => !Object.hasOwn(modes, what));
if (unknown.length > 0) throw new Error(`[accuracy] got --mode ${unknown.join(', ')}; expected some of ${Object.keys(modes).join('; ')}.`);

const until = performance.now() + Number(values.minutes) * 60_000;
const { name: backend } = await useBackend('tensorflow');
const task = await tasks[values.model]!();
const first = task.model.getWeights().map((weight) => weight.clone());
const file = new URL(`results/accuracy-${values.model}.json`, import.meta.url);
const settings = { model: values.model, data: task.data, batch: BATCH, epochs: task.epochs, backend, parameters: task.model.countParams() };
let result: AccuracyResult = read() ?? { ...settings, search: [], rows: [] };

for (const what of new Set(chosen.map(rateOwner))) {
  const middle = modes[what]!.rate as number;
  for (let next = nextRate(what, middle); next !== undefined; next = nextRate(what, middle))
    record({ search: [...result.search, { what, rate: next, validation: run(what, next, 4, 'validation').accuracy }] });
}
for (const [k, seed] of seeds.entries()) {
  for (const what of chosen) {
    const old = result.rows.find((row) => row.what === what);
    if (old && old.accuracy.length > k) continue;
    const rate = bestRate(rateOwner(what))!;
    const { accuracy, ...rest } = run(what, rate, seed, 'test');
    const row = { what, rate, ...rest, ...old, accuracy: [...(old?.accuracy ?? []), accuracy] }; // bytes are those of the first seed's batch
    record({
      rows: Object.keys(modes).flatMap((name) => (name === what ? row : (result.rows.find((other) => other.what === name) ?? []))),
    });
  }
}

function record(news: Partial<AccuracyResult>): void {
  result = { ...result, ...news };
  writeFileSync(`${file.pathname}.new`, `${JSON.stringify(result, undefined, 2)}\n`);
  renameSync(`${file.pathname}.new`, file);
}

function read(): AccuracyResult | undefined {
  if (!existsSync(file)) return undefined;
  const { search, rows, ...theirs } = JSON.parse(readFileSync(file, 'utf8')) as AccuracyResult;
  if (JSON.stringify(theirs) !== JSON.stringify(settings))
    throw new Error(`[accuracy] ${file.pathname} was made with other settings. Delete it first.`);
  return { ...theirs, search, rows };
}

/** The mode whose rate a mode takes; its own, where it names none. */
function rateOwner(what: string): string {
  const { rate } = modes[what]!;
  return typeof rate === 'string' ? rate : what;
}

/** The rate of a mode that is right most often on what was held out; of several the least. */
function bestRate(what: string): number | undefined {
  const tried = result.search.filter((run) => run.what === what).sort((a, b) => b.validation - a.validation || a.rate - b.rate);
  return tried[0]?.rate;
}

/** A rate to try: the middle one and its neighbours, then the neighbours of the best. */
function nextRate(what: string, middle: number): number | undefined {
  const tried = result.search.filter((run) => run.what === what).map(({ rate }) => rate);
  const around = (rate: number) => [0, 1, -1].flatMap((by) => ladder[ladder.indexOf(rate) + by] ?? []);
  return [...around(middle), ...around(bestRate(what) ?? middle)].find((rate) => !tried.includes(rate));
}

/** Trains one mode from the pretrained weights, and says how much of a split it gets right. */
function run(what: string, rate: number, seed: number, split: Split) {
  if (performance.now() > until) {
    console.log('Time is up: run it again for the rest.');
    process.exit(3);
  }
  const started = performance.now();
  const way = { techniques: modes[what]!.make(seed), trainable: what === 'full' ? undefined : HEAD, rate, seed };
  const decay = (name: string) => !/bias|beta|gamma/i.test(name);
  const { result: accuracy, ...step } = fineTune(task, first, { ...way, decay }, () => task.accuracy(split, seed));
  console.log(
    `${what}, rate ${rate}, seed ${seed}: ${(100 * accuracy).toFixed(2)} % of ${split}, ${((performance.now() - started) / 1000).toFixed(0)} s`,
  );
  return { ...step, accuracy };
}
