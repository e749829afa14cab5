/**
 * Writes the tables of README.md and benchmarks/README.md from `results/`, between their markers. `--check` writes nothing and
 * fails if a table is not what the results say.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Lever, levers, type Result, type Row } from './experiment.ts';

/** Documents, the marker in each, and the table between `<!-- marker:start -->` and `<!-- marker:end -->`. */
const tables = [
  { file: '../README.md', marker: 'levers', table: leverTable },
  { file: 'README.md', marker: 'results', table: resultsTable },
] as const;

/** The models of the README's table, in order; all on the embedded default backend. */
const shown = ['mlp', 'mobilenet-v2', 'resnet-50', 'encoder'];

const at = (path: string): URL => new URL(path, import.meta.url);

/** All results, by name of the experiment. */
export function readResults(): Result[] {
  const names = readdirSync(at('results/')).map((file) => file.replace(/\.json$/, ''));
  return names.sort().map((name) => JSON.parse(readFileSync(at(`results/${name}.json`), 'utf8')) as Result);
}

/** Names of the documents whose tables are stale; their text as it should be. */
export function staleTables(results: readonly Result[]): { readonly file: string; readonly text: string }[] {
  return tables.flatMap(({ file, marker, table }) => {
    const before = readFileSync(at(file), 'utf8');
    const [start, end] = [`<!-- ${marker}:start -->`, `<!-- ${marker}:end -->`];
    const [from, to] = [before.indexOf(start), before.indexOf(end)];
    if (from < 0 || to < from) throw new Error(`[tables] ${file} has no ${start} … ${end}. Put both where the table belongs.`);
    const text = `${before.slice(0, from + start.length)}\n${table(results)}\n${before.slice(to)}`;
    return text === before ? [] : [{ file, text }];
  });
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

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** Three significant digits. */
function megabytes(bytes: number): string {
  const value = bytes / 1e6;
  return value.toFixed(value >= 100 ? 0 : value >= 10 ? 1 : 2);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const stale = staleTables(readResults());
  if (process.argv.includes('--check') && stale.length > 0) {
    console.error(
      `[tables] ${stale.map(({ file }) => file).join(', ')}: not what benchmarks/results says. Run: npm run tables -w benchmarks`,
    );
    process.exitCode = 1;
  } else {
    for (const { file, text } of stale) writeFileSync(at(file), text);
  }
}
