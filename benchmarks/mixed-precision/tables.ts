/** The tables of docs/techniques/mixed-precision.md, from mixed-precision/results and webgpu/results. */
import { existsSync } from 'node:fs';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';
import { cellsOf, comparisons, mean, type Ran } from '../report/figures.ts';

interface Accuracy {
  readonly backend: string;
  readonly settings: { readonly test: number };
  readonly seeds: readonly {
    readonly seed: number;
    readonly accuracy: { readonly [precision: string]: number };
    readonly secondsPerStep: { readonly [precision: string]: number };
  }[];
}

interface Kernels {
  readonly steps: { readonly [precision: string]: { readonly dispatches: number; readonly bytes: number } };
}

interface TensorflowHalves {
  readonly rows: readonly {
    readonly title: string;
    readonly half: string;
    readonly float32: number;
    readonly emulated: number;
    readonly own: number;
  }[];
}

export const tables: readonly Table[] = [
  { file: '../docs/techniques/mixed-precision.md', marker: 'mixed-precision-memory', text: memoryTable },
  { file: '../docs/techniques/mixed-precision.md', marker: 'mixed-precision-accuracy', text: accuracyTable },
  { file: '../docs/techniques/mixed-precision.md', marker: 'mixed-precision-kernels', text: kernelTable },
  { file: '../docs/techniques/mixed-precision.md', marker: 'mixed-precision-tensorflow', text: tensorflowTable },
];

/** Cells of the comparison, and the word of each model for all of it. */
const models = { 'mobilenet-v2': 'full', 'resnet-50': 'full', minilm: 'blocks' } as const;
const policies = { float32: '', mixed_float16: 'mixed', mixed_bfloat16: 'mixed-bfloat16' } as const;

/** Bytes, and the share of float32's. */
function memoryTable(): string {
  const rows = Object.entries(models).flatMap(([model, all]) => {
    const [{ outcome: full }] = cellsOf(model, [`leantune wasm: ${all}`]) as [Ran];
    const cell = (bytes: number, of: number) => `${megabytes(bytes)} MB (×${(bytes / of).toFixed(3)})`;
    return Object.entries(policies).flatMap(([policy, lever]) => {
      const method = [...(all === 'blocks' || lever === '' ? [all] : []), ...(lever ? [lever] : [])].join(' + ');
      return cellsOf(model, [`leantune wasm: ${method}`]).map(({ outcome: { keptBytes, peakAboveWeights } }) => [
        ...[comparisons().find(({ contest }) => contest.id === model)!.contest.title, policy],
        ...[cell(keptBytes ?? 0, full.keptBytes ?? 0), cell(peakAboveWeights, full.peakAboveWeights)],
      ]);
    });
  });
  return markdownTable(['model', 'precision', 'kept for backward', 'peak above weights'], rows);
}

/** Means over the seeds that a precision was measured with, and its differences from float32 by seed. */
function accuracyTable(): string {
  const found = ['image', 'text'].filter((task) => existsSync(at(`mixed-precision/results/${task}.json`)));
  if (found.length === 0) return 'Not measured yet.';
  const points = (share: number): string => (100 * share).toFixed(2).replace('-', '−');
  const cells = found.flatMap((task) => {
    const { backend, settings, seeds } = readJson<Accuracy>(`mixed-precision/results/${task}.json`);
    const precisions = [...new Set(seeds.flatMap(({ accuracy }) => Object.keys(accuracy)))];
    return precisions.map((precision) => {
      const measured = seeds.filter(({ accuracy }) => precision in accuracy);
      const differences = measured.map(({ accuracy }) => accuracy[precision]! - accuracy['float32']!);
      const times = measured.map(({ secondsPerStep: of }) => of[precision]! / of['float32']!);
      return [
        `${task}, ${backend}, ${settings.test} tests`,
        precision,
        `${measured.map(({ seed }) => seed).join(', ')}`,
        `${points(mean(measured.map(({ accuracy }) => accuracy[precision]!)))} %`,
        precision === 'float32' ? '–' : `${points(mean(differences))} (${differences.map(points).join(', ')})`,
        `×${mean(times).toFixed(2)}`,
      ];
    });
  });
  return markdownTable(
    ['task', 'precision', 'seeds', 'test accuracy', 'points from float32, and by seed', 'processor time per step'],
    cells,
  );
}

function kernelTable(): string {
  const { steps } = readJson<Kernels>('webgpu/results/dispatches.json');
  const full = steps['float32']!;
  const cells = Object.entries(steps).map(([precision, { dispatches, bytes }]) => [
    precision,
    `${dispatches} (×${(dispatches / full.dispatches).toFixed(2)})`,
    `${megabytes(bytes)} MB (×${(bytes / full.bytes).toFixed(2)})`,
  ]);
  return markdownTable(['precision', 'kernels of a step', 'buffers that they bind'], cells);
}

function tensorflowTable(): string {
  const { rows } = readJson<TensorflowHalves>('mixed-precision/results/tensorflow-halves.json');
  const cells = rows.map(({ title, half, float32, emulated, own }) => [
    title,
    half,
    ...[float32, emulated, own].map((ms) => `${ms} ms (×${(ms / float32).toFixed(ms / float32 > 10 ? 0 : 2)})`),
  ]);
  return markdownTable(['processor time on TensorFlow', 'half', 'float32', 'float32 between roundings', "TensorFlow's own"], cells);
}
