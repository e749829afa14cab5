/** The tables of docs/results.md and of the README that come from the comparison. */
import type { Bundles } from '../compare/bundle.ts';
import { nameOf } from '../compare/cell.ts';
import { line, markdownTable, megabytes, readJson, type Table } from '../documents.ts';
import {
  accuracies,
  type Comparison,
  comparisons,
  type LeverRow,
  mean,
  peakRatio,
  type Ran,
  type Row,
  ran,
  timeRatio,
  trainedShare,
  wordsOf,
} from './figures.ts';
import { reportPage } from './page.ts';
import { pictures } from './pictures.ts';

const file = '../docs/results.md';

export const tables: readonly Table[] = [
  { file: '../README.md', marker: 'levers', text: () => shortTable(comparisons().filter(({ levers }) => levers.length > 4)) },
  { file, marker: 'levers', text: () => comparisons().map(leverTable).join('\n\n') },
  { file, marker: 'accuracy', text: accuracyTable },
  { file, marker: 'peers', text: () => comparisons().map(peerTable).join('\n\n') },
  { file, marker: 'bundle', text: bundleTable },
  { file, marker: 'provenance', text: () => provenance(comparisons()) },
  { file: '../docs/results.html', text: () => reportPage(comparisons(), accuracies()) },
  ...pictures().map(({ name, draw }) => ({ file: `../docs/pictures/${name}.svg`, text: draw })),
];

export const percent = (share: number): string => `${Number((100 * share).toPrecision(share < 0.1 ? 2 : 3))} %`;
const times = (ratio: number | undefined): string => (ratio === undefined ? '' : `×${ratio.toFixed(2)}`);

/** Rows: levers. Columns: models. Cells: peak, and its share of stock tfjs's. */
export function shortTable(all: readonly Comparison[]): string {
  const heads = all.map(({ contest }) => contest.title);
  const longest = Math.max(...all.flatMap(({ levers }) => levers.map(({ step }) => step + 1)));
  const rows = Array.from({ length: longest }, (_, i) => {
    const names = [...new Set(all.flatMap(({ levers }) => levers.filter(({ step }) => step === i).map(({ lever }) => lever)))].join(' / ');
    const cells = all.map((comparison) => {
      const row = comparison.levers.find(({ step }) => step === i);
      if (!row) return '';
      const peak = `${megabytes(row.outcome.peakAboveWeights)} MB`;
      return i === 0 ? peak : `**${peak}** · ${percent(peakRatio(comparison, row))}`;
    });
    return line([`${i === 0 ? '' : '+ '}${names}`, ...cells]);
  });
  return [
    line(['each on top of the row above', ...heads]),
    line(['---', ...heads.map(() => '---:')]),
    ...rows,
    '',
    "Peak bytes above the weights in one training step, and the share of stock tfjs's, on wasm. From LaMDA on, adapters of rank 8 and the head train.",
  ].join('\n');
}

function leverTable(comparison: Comparison): string {
  const { contest, levers } = comparison;
  const rows = levers.map((row, i) => [
    `${i === 0 ? '' : '+ '}${row.lever}`,
    `${megabytes(row.outcome.peakAboveWeights)} MB`,
    percent(peakRatio(comparison, row)),
    megabytes(row.outcome.keptBytes ?? 0),
    percent(trainedShare(comparison, row)),
    times(timeRatio(comparison, row)),
    row.native ? `${megabytes(row.native.outcome.peakAboveWeights)} MB` : '',
    row.native ? percent(peakRatio(comparison, row.native)) : '',
    row.native ? times(timeRatio(comparison, row.native)) : '',
    accuracyOf(contest.id, row),
  ]);
  const last = levers.at(-1)!;
  const own = [contest.title, 'peak above weights', 'of stock', 'kept, MB', 'trained', 'step'];
  const head = [...own, 'on tensorflow', 'of stock', 'step', 'accuracy'];
  const measured = (row: readonly string[]) => row.filter((_, column) => rows.some((other) => other[column] !== ''));
  const shownAs = ['levers', 'timeline'].map((name) => `![${contest.title}](pictures/${name}-${contest.id}.svg)`);
  return `${markdownTable(measured(head), rows.map(measured))}\n\n${shownAs.join('\n')}\n\nThe last row: \`npm run bench -- ${contest.id} --only '${nameOf(last.cell)}' --again\``;
}

/** Where the levers were also trained on a task. */
function accuracyOf(id: string, { cell }: LeverRow): string {
  const known = id === 'minilm' ? accuracies()?.methods[`${cell.engine}: ${cell.method}`] : undefined;
  return known ? percent(mean(Object.values(known.runs).map(({ accuracy }) => accuracy))) : '';
}

function accuracyTable(): string {
  const known = accuracies();
  if (!known) return 'Not measured yet.';
  const { data, batch, epochs, parameters, methods } = known;
  const rows = Object.entries(methods).map(([name, { runs, rate }]) => {
    const [engine, method] = name.split(': ') as ['leantune' | 'torch', string];
    const each = Object.values(runs);
    const reached = each.map(({ accuracy }) => accuracy);
    const range = `${percent(mean(reached))} (${reached.map((share) => (100 * share).toFixed(1)).join(', ')})`;
    const { trainable, peakAboveWeights } = each[0]!;
    return [
      wordsOf({ engine, backend: '', method }),
      `${megabytes(peakAboveWeights)} MB`,
      percent(trainable / parameters),
      String(rate),
      range,
    ];
  });
  const seeds = Object.keys(Object.values(methods)[0]!.runs).length;
  const table = markdownTable(['', 'peak above weights', 'trained', 'rate', 'test accuracy (each seed)'], rows);
  return `${table}\n\nMiniLM's checkpoint on ${data}; batch ${batch}, ${epochs} epochs, ${seeds} ${seeds === 1 ? 'seed' : 'seeds'}; forward and backward.`;
}

/** What a page loads, without what it loads on demand. */
function bundleTable(): string {
  const shown = [
    ...['@leantune/core { finetune }', '@leantune/core { measure }', '@leantune/convbn', '@leantune/s2a', '@leantune/lamda'],
    ...['@leantune/lora', '@leantune/mixed-precision', '@leantune/transformers', '@leantune/backends/wasm', '@leantune/backends/webgpu'],
    ...['@tensorflow/tfjs-core + tfjs-layers', '@jax-js/jax'],
  ];
  const { entries } = readJson<Bundles>('compare/results/bundle.json');
  const rows = shown.filter((entry) => entry in entries).map((entry) => [`\`${entry}\``, (entries[entry]! / 1000).toFixed(1)]);
  return markdownTable(['what is imported', 'kB, minified and gzipped'], rows);
}

/** Every cell of a model, the hungriest first, and what could not run. */
function peerTable(comparison: Comparison): string {
  const rows = comparison.rows.filter(ran).sort((a, b) => b.outcome.peakAboveWeights - a.outcome.peakAboveWeights);
  const table = markdownTable(
    [comparison.contest.title, 'peak above weights', 'kept, MB', 'trained', 'ms', 'step'],
    rows.map((row) => cellsOf(comparison, row)),
  );
  return [table, ...notRun(comparison.rows)].join('\n\n');
}

function cellsOf(comparison: Comparison, row: Ran): string[] {
  const { peakAboveWeights, keptBytes, processorMilliseconds } = row.outcome;
  return [
    row.cell.engine === 'leantune' ? `**${wordsOf(row.cell)}**` : wordsOf(row.cell),
    `${megabytes(peakAboveWeights)} MB`,
    keptBytes === null ? '' : megabytes(keptBytes),
    percent(trainedShare(comparison, row)),
    String(Math.round(processorMilliseconds)),
    times(timeRatio(comparison, row)),
  ];
}

function notRun(rows: readonly Row[]): string[] {
  const missing = rows.flatMap(({ cell, outcome }) => ('notRun' in outcome ? [`${wordsOf(cell)}: ${outcome.notRun}`] : []));
  return missing.length > 0 ? [`Not run. ${missing.map((reason) => reason.replace(/\.?$/, '.')).join(' ')}`] : [];
}

function provenance(all: readonly Comparison[]): string {
  const records = all.flatMap(({ rows }) => rows.filter(ran).map(({ outcome }) => outcome));
  const distinct = (values: readonly string[]): string => [...new Set(values)].sort().join(', ');
  const machines = all.flatMap(({ results }) =>
    results.machines.map(({ cpu, cores, memoryGiB }) => `${cores} cores of ${cpu}, ${memoryGiB} GiB`),
  );
  const versions = records.flatMap(({ versions: known }) => Object.entries(known).map(([name, version]) => `${name} ${version}`));
  return `Measured ${distinct(records.map(({ date }) => date.slice(0, 10)))} at commit ${distinct(records.map(({ commit }) => commit ?? 'unknown'))} on ${distinct(machines)}: ${distinct(versions)}.`;
}
