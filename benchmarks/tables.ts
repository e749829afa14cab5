/**
 * Writes the tables of all documents from result files, between their markers. `--check` writes nothing and fails if a table is not
 * what the results say.
 */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { tables as convbn } from './convbn/tables.ts';
import { at, line, megabytes, readJson, staleDocuments, type Table } from './documents.ts';
import { type Lever, levers, type Result, type Row } from './experiment.ts';
import { tables as gpu } from './gpu/tables.ts';
import { tables as lowrank } from './lowrank/tables.ts';
import { tables as mixedPrecision } from './mixed-precision/tables.ts';
import { tables as reliability } from './reliability/tables.ts';
import { tables as report } from './report/tables.ts';
import { tables as s2a } from './s2a/tables.ts';
import { tables as transformers } from './transformers/tables.ts';

/** Of this folder, and of each technique that has its own. */
export const allTables: readonly Table[] = [
  { file: 'README.md', marker: 'what-trains', text: () => leverTable(readResults()) },
  { file: 'README.md', marker: 'results', text: () => resultsTable(readResults()) },
  ...convbn,
  ...gpu,
  ...lowrank,
  ...mixedPrecision,
  ...s2a,
  ...reliability,
  ...transformers,
  ...report,
];

/** The models of the table of what trains, in order; all on the embedded default backend. */
const shown = ['mlp', 'mobilenet-v2', 'resnet-50', 'encoder'];

/** All results, by name of the experiment. */
export function readResults(): Result[] {
  const names = readdirSync(at('results/')).map((file) => file.replace(/\.json$/, ''));
  return names.sort().map((name) => readJson<Result>(`results/${name}.json`));
}

/** Rows: what trains. Columns: models. Cells: peak above weights, stock to LeanTune. */
export function leverTable(results: readonly Result[]): string {
  const columns = shown.flatMap((name) => results.find(({ experiment }) => experiment === name) ?? []);
  const cell = (result: Result, lever: Lever): string => {
    const row = result.rows.find((r) => r.lever === lever);
    return row
      ? `${megabytes(row.stock.peakAboveWeights)} → **${megabytes(row.leantune.peakAboveWeights)}** MB · ×${row.ratio.peak.toFixed(2)} · time ×${row.ratio.time.toFixed(2)}`
      : '';
  };
  const predict = columns.map((result) => `${megabytes((result.rows[0] as Row).predict.peakAboveWeights)} MB`);
  return [
    line(['what trains', ...columns.map(({ title, batch }) => `${title}, batch ${batch}`)]),
    line(['---', ...columns.map(() => '---')]),
    ...levers.map((lever) => line([lever, ...columns.map((result) => cell(result, lever))])),
    line(['*(predict)*', ...predict]),
    '',
    `Peak bytes above the weights in one training step: stock tfjs → LeanTune, and LeanTune's time over stock's. ${provenance(columns)}`,
  ].join('\n');
}

/** Every row of every result. */
export function resultsTable(results: readonly Result[]): string {
  const parts = results.map((result) =>
    [
      `### ${result.title} · ${result.backend}, batch ${result.batch}`,
      '',
      line([
        'what trains',
        'parameters',
        'stock peak MB',
        'LeanTune peak MB',
        '×',
        'kept',
        'gradients',
        'transient',
        'predict MB',
        'ms/step',
        'time ×',
        'gradients equal',
      ]),
      line(['---', ...Array.from({ length: 11 }, () => '---:')]),
      ...result.rows.map(resultLine),
      '',
      provenance([result]),
    ].join('\n'),
  );
  return parts.join('\n\n');
}

function resultLine({ lever, trained, stock, leantune, predict, ratio, equality }: Row): string {
  const { kept, gradients, transient } = leantune.atPeak;
  return line([
    lever,
    trained.toLocaleString('en'),
    megabytes(stock.peakAboveWeights),
    megabytes(leantune.peakAboveWeights),
    ratio.peak.toFixed(2),
    ...[kept, gradients, transient].map(megabytes),
    megabytes(predict.peakAboveWeights),
    `${Math.round(stock.millisecondsPerStep)} → ${Math.round(leantune.millisecondsPerStep)}`,
    ratio.time.toFixed(2),
    equality.gradientsBitEqual ? 'bit for bit' : `to ${equality.maxRelativeDifference.toExponential(1)}`,
  ]);
}

function provenance(results: readonly Result[]): string {
  const distinct = (of: (result: Result) => string): string => [...new Set(results.map(of))].join(', ');
  return [
    `Measured ${distinct(({ date }) => date.slice(0, 10))} at commit ${distinct(({ commit }) => commit ?? 'unknown')}`,
    `on ${distinct(({ machine }) => `${machine.cores} cores of ${machine.cpu}`)}`,
    `with ${distinct(({ backend }) => backend)}, tfjs ${distinct(({ versions }) => versions.tfjs)}, Node ${distinct(({ versions }) => versions.node)}.`,
  ].join(' ');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const stale = staleDocuments(allTables);
  if (process.argv.includes('--check') && stale.length > 0) {
    console.error(`[tables] ${stale.map(({ file }) => file).join(', ')}: not what the results say. Run: npm run tables -w benchmarks`);
    process.exitCode = 1;
  } else {
    for (const { file, text } of stale) {
      mkdirSync(new URL('.', at(file)), { recursive: true });
      writeFileSync(at(file), text);
    }
  }
}
