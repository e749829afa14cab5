/** The tables of docs/techniques/mixed-precision.md, from mixed-precision/results. */
import { existsSync } from 'node:fs';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';

interface Memory {
  readonly rows: readonly {
    readonly model: string;
    readonly precision: string;
    readonly keptBytes: number;
    readonly peakAboveWeights: number;
  }[];
}

interface Accuracy {
  readonly backend: string;
  readonly seeds: readonly {
    readonly seed: number;
    readonly accuracy: { readonly [precision: string]: number };
    readonly secondsPerStep: { readonly [precision: string]: number };
  }[];
}

export const tables: readonly Table[] = [
  { file: '../docs/techniques/mixed-precision.md', marker: 'mixed-precision-memory', text: memoryTable },
  { file: '../docs/techniques/mixed-precision.md', marker: 'mixed-precision-accuracy', text: accuracyTable },
];

/** Bytes, and the share of float32's. */
function memoryTable(): string {
  const { rows } = readJson<Memory>('mixed-precision/results/memory.json');
  const cells = rows.map((row) => {
    const full = rows.find(({ model, precision }) => model === row.model && precision === 'float32')!;
    const cell = (bytes: number, of: number) => `${megabytes(bytes)} MB (×${(bytes / of).toFixed(3)})`;
    return [row.model, row.precision, cell(row.keptBytes, full.keptBytes), cell(row.peakAboveWeights, full.peakAboveWeights)];
  });
  return markdownTable(['model', 'precision', 'kept for backward', 'peak above weights'], cells);
}

/** Means over the seeds. */
function accuracyTable(): string {
  const found = ['image', 'text'].filter((task) => existsSync(at(`mixed-precision/results/${task}.json`)));
  if (found.length === 0) return 'Not measured yet.';
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const cells = found.flatMap((task) => {
    const { backend, seeds } = readJson<Accuracy>(`mixed-precision/results/${task}.json`);
    const precisions = Object.keys(seeds[0]!.accuracy);
    const seconds = (precision: string) => mean(seeds.map((one) => one.secondsPerStep[precision]!));
    return precisions.map((precision) => [
      `${task}, ${backend}, ${seeds.length} ${seeds.length === 1 ? 'seed' : 'seeds'}`,
      precision,
      `${(100 * mean(seeds.map((one) => one.accuracy[precision]!))).toFixed(2)} %`,
      `×${(seconds(precision) / seconds('float32')).toFixed(2)}`,
    ]);
  });
  return markdownTable(['task', 'precision', 'test accuracy', 'processor time per step'], cells);
}
