/** The table of docs/techniques/s2a.md, from s2a/results. */
import { existsSync } from 'node:fs';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';
import { ratiosTo } from '../ratios.ts';
import { cellsOf, comparisons, mean } from '../report/figures.ts';
import type { AccuracyResult } from './accuracy.ts';
import type { TimeResult } from './time.ts';

const models = ['encoder', 'resnet-50'] as const;

export const tables: readonly Table[] = [
  { file: '../docs/techniques/s2a.md', marker: 's2a-memory', text: memoryTables },
  { file: '../docs/techniques/s2a.md', marker: 's2a-time', text: timeTable },
  { file: '../docs/techniques/s2a.md', marker: 's2a-accuracy', text: accuracyTables },
];

/** Cells of the comparison, by what trains. */
const cells: { readonly [model: string]: { readonly [what: string]: string } } = {
  minilm: {
    ...{ 'stock tfjs, full': 'stock wasm: full', 'PyTorch, full': 'torch cpu: full', full: 'leantune wasm: blocks' },
    ...{
      biases: 'leantune wasm: blocks + biases',
      prompt: 'leantune wasm: blocks + prompt',
      'side branch': 'leantune wasm: blocks + side',
    },
    ...{ 'S2A: biases, 4 bits': 'leantune wasm: blocks + biases + 4bit', 'S2A: biases, 8 bits': 'leantune wasm: blocks + biases + 8bit' },
  },
  'resnet-50': {
    ...{ 'stock tfjs, full': 'stock wasm: full', 'PyTorch, full': 'torch cpu: full', full: 'leantune wasm: full' },
    ...{ prompt: 'leantune wasm: prompt', 'side branch': 'leantune wasm: side' },
    ...{ 'S2A: biases, 4 bits': 'leantune wasm: biases + 4bit', 'S2A: biases, 8 bits': 'leantune wasm: biases + 8bit' },
  },
};

function memoryTables(): string {
  return Object.keys(cells).map(memoryTable).join('\n\n');
}

/** Kept and peak by what trains, and how many times the peak of S2A it is. */
function memoryTable(model: string): string {
  const measured = Object.entries(cells[model]!).flatMap(([what, name]) => cellsOf(model, [name]).map((row) => ({ what, ...row })));
  const least = measured.find(({ what }) => what === 'S2A: biases, 4 bits')!.outcome.peakAboveWeights;
  const rows = measured.map(({ what, outcome: { trained, parameters, keptBytes, peakAboveWeights } }) => [
    what,
    `${Number(((100 * trained) / parameters).toPrecision(3))} %`,
    megabytes(keptBytes ?? 0),
    megabytes(peakAboveWeights),
    `×${(peakAboveWeights / least).toFixed(1)}`,
  ]);
  const { title } = comparisons().find(({ contest }) => contest.id === model)!.contest;
  return markdownTable([title, 'trained', 'kept for backward', 'peak above weights', 'of S2A'], rows);
}

/** The step with codes to that without, by what trains. */
function timeTable(): string {
  const rows = models.flatMap((model) =>
    ['tensorflow', 'webgpu']
      .map((backend) => `s2a/results/time-${model}-${backend}.json`)
      .filter((file) => existsSync(at(file)))
      .map((file) => {
        const { batch, backend, clock, milliseconds } = readJson<TimeResult>(file);
        const ratio = (what: string) => `×${ratiosTo(what, milliseconds)[`${what}, 4 bits`]!.toFixed(2)}`;
        return [`${model}, batch ${batch}`, backend, clock, ratio('biases'), ratio('full')];
      }),
  );
  return markdownTable(['4 bits, of the same step without', 'backend', 'clock', 'biases train', 'all trains'], rows);
}

function accuracyTables(): string {
  return ['minilm', 'minilm-movies', 'resnet-50']
    .filter((model) => existsSync(at(`s2a/results/accuracy-${model}.json`)))
    .map((model) => readJson<AccuracyResult>(`s2a/results/accuracy-${model}.json`))
    .flatMap((result) => [
      ...(result.search.length > 0 ? [searchTable(result)] : []),
      ...(result.rows.length > 0 ? [accuracyTable(result)] : []),
    ])
    .join('\n\n');
}

const percent = (share: number): string => (100 * share).toFixed(1);

/** What each rate gets right of the held-out examples, by mode. */
function searchTable({ model, data, search }: AccuracyResult): string {
  const rates = [...new Set(search.map(({ rate }) => rate))].sort((a, b) => a - b);
  const rows = [...new Set(search.map(({ what }) => what))].map((what) => {
    const right = rates.map((rate) => search.find((run) => run.what === what && run.rate === rate)?.validation);
    const best = Math.max(...right.map((share) => share ?? 0));
    return [what, ...right.map((share) => (share === undefined ? '' : share === best ? `**${percent(share)}**` : percent(share)))];
  });
  return markdownTable([`${model}, ${data}: % of what is held out, by rate`, ...rates.map((rate) => `${rate}`)], rows);
}

/** Differences are means over the seeds that both have, with their standard errors. */
function accuracyTable({ model, data, parameters, rows }: AccuracyResult): string {
  const full = rows.find(({ what }) => what === 'full')!.accuracy;
  const toFull = (accuracy: readonly number[]) => {
    const apart = accuracy.slice(0, full.length).map((share, seed) => share - full[seed]!);
    const [by, n] = [mean(apart), apart.length];
    const error = Math.sqrt(mean(apart.map((x) => (x - by) ** 2)) / (n - 1));
    return `${by < 0 ? '−' : '+'}${percent(Math.abs(by))}${n > 1 ? ` ± ${percent(error)}` : ''}`;
  };
  const cells = rows.map(({ what, trainable, rate, accuracy, keptBytes, peakAboveWeights }) => [
    what,
    `${Number(((100 * trainable) / parameters).toPrecision(3))} %`,
    `${rate}`,
    `${percent(mean(accuracy))} %`,
    what === 'full' ? '' : toFull(accuracy),
    `${accuracy.length}`,
    megabytes(keptBytes),
    megabytes(peakAboveWeights),
  ]);
  const head = [`${model}, ${data}`, 'trained', 'rate', 'test', 'to full, points', 'seeds', 'kept', 'peak above weights'];
  return markdownTable(head, cells);
}
