/** The table of docs/techniques/s2a.md, from s2a/results. */
import { existsSync } from 'node:fs';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';

interface Result {
  readonly batch: number;
  readonly parameters: number;
  readonly rows: readonly {
    readonly what: string;
    readonly trainable: number;
    readonly keptBytes: number;
    readonly peakAboveWeights: number;
  }[];
}

interface PyTorch {
  readonly batch: number;
  readonly torch: string;
  readonly rows: readonly { readonly model: string; readonly keptBytes: number; readonly peakAboveWeights: number }[];
}

interface Accuracy {
  readonly data: string;
  readonly parameters: number;
  readonly rows: readonly {
    readonly what: string;
    readonly trainable: number;
    /** By seed. */
    readonly accuracy: readonly number[];
    readonly peakAboveWeights: number;
    readonly secondsPerStep: number;
  }[];
}

const models = ['encoder', 'resnet-50'] as const;

export const tables: readonly Table[] = [
  { file: '../docs/techniques/s2a.md', marker: 's2a-memory', text: memoryTables },
  { file: '../docs/techniques/s2a.md', marker: 's2a-accuracy', text: accuracyTables },
];

function memoryTables(): string {
  const torch = existsSync(at('s2a/results/pytorch.json')) ? readJson<PyTorch>('s2a/results/pytorch.json') : undefined;
  return models
    .filter((model) => existsSync(at(`s2a/results/${model}.json`)))
    .map((model) => memoryTable(model, readJson<Result>(`s2a/results/${model}.json`), torch))
    .join('\n\n');
}

/** Kept and peak by what trains, and how many times the peak of S2A it is. */
function memoryTable(model: string, { batch, parameters, rows }: Result, torch: PyTorch | undefined): string {
  const least = rows.find(({ what }) => what === 'S2A: biases, 4 bits')!.peakAboveWeights;
  const share = (trainable: number) => `${Number(((100 * trainable) / parameters).toPrecision(3))} %`;
  const cells = (keptBytes: number, peak: number) => [megabytes(keptBytes), megabytes(peak), `×${(peak / least).toFixed(1)}`];
  const ours = rows.map(({ what, trainable, keptBytes, peakAboveWeights }) => [
    what,
    share(trainable),
    ...cells(keptBytes, peakAboveWeights),
  ]);
  const theirs = (torch?.batch === batch ? torch.rows : [])
    .filter((row) => row.model.startsWith(model))
    .map((row) => [
      `PyTorch ${torch!.torch.replace(/\+.*/, '')}, full${row.model.slice(model.length)}`,
      '100 %',
      ...cells(row.keptBytes, row.peakAboveWeights),
    ]);
  return markdownTable([`${model}, batch ${batch}`, 'trained', 'kept for backward', 'peak above weights', 'of S2A'], [...ours, ...theirs]);
}

function accuracyTables(): string {
  return ['minilm', 'resnet-50']
    .filter((model) => existsSync(at(`s2a/results/accuracy-${model}.json`)))
    .map((model) => accuracyTable(model, readJson<Accuracy>(`s2a/results/accuracy-${model}.json`)))
    .join('\n\n');
}

function accuracyTable(model: string, { data, parameters, rows }: Accuracy): string {
  const percent = (share: number) => `${(100 * share).toFixed(1)}`;
  const full = rows.find(({ what }) => what === 'full')!;
  const cells = rows.map(({ what, trainable, accuracy, peakAboveWeights, secondsPerStep }) => [
    what,
    `${Number(((100 * trainable) / parameters).toPrecision(3))} %`,
    `${percent(accuracy.reduce((sum, x) => sum + x, 0) / accuracy.length)} % (${percent(Math.min(...accuracy))} to ${percent(Math.max(...accuracy))})`,
    megabytes(peakAboveWeights),
    `×${(secondsPerStep / full.secondsPerStep).toFixed(2)}`,
  ]);
  return markdownTable([`${model}, ${data}`, 'trained', 'accuracy', 'peak above weights, MB', 'time of a step'], cells);
}
