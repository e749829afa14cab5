/** The tables of docs/techniques/convbn.md, from convbn/results. */
import { existsSync } from 'node:fs';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';
import { ratiosTo } from '../ratios.ts';
import type { AccuracyResult } from './accuracy.ts';
import type { ModesResult } from './modes.ts';
import type { StabilityResult } from './stability.ts';
import type { TimeResult } from './time.ts';

const file = '../docs/techniques/convbn.md';

export const tables: readonly Table[] = [
  { file, marker: 'convbn-axes', text: axesTable },
  { file, marker: 'convbn-bytes', text: bytesTable },
  { file, marker: 'convbn-time', text: timeTable },
  { file, marker: 'convbn-stability', text: stabilityTable },
  { file, marker: 'convbn-accuracy', text: accuracyTable },
];

interface PyTorchResult {
  readonly torch: string;
  readonly rows: readonly { readonly mode: string; readonly keptBytes: number; readonly pairs?: number }[];
}

const sizes = [96, 224] as const;
const modes = (size: number) => readJson<ModesResult>(`convbn/results/modes-${size}.json`);
const pytorch = (size: number) => readJson<PyTorchResult>(`convbn/results/pytorch-${size}.json`);
const stability = (rate: string) => readJson<StabilityResult>(`convbn/results/stability-${rate}.json`);
const accuracy = () => readJson<AccuracyResult>('convbn/results/accuracy.json');
const rowOf = <R extends { readonly mode: string }>(rows: readonly R[], mode: string): R => rows.find((row) => row.mode === mode)!;
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
const points = (difference: number): string => `${difference < 0 ? '−' : '+'}${Math.abs(100 * difference).toFixed(2)} points`;

/** Backends whose times are there, the embedded default first. */
function times(): readonly TimeResult[] {
  const paths = ['wasm', 'tensorflow', 'webgpu'].flatMap((backend) =>
    [96, 128, 224].map((size) => `convbn/results/time-${backend}-${size}.json`),
  );
  return paths.filter((path) => existsSync(at(path))).map((path) => readJson<TimeResult>(path));
}

/** Peak bytes, time and accuracy, of Eval and of Tune mode. */
function axesTable(): string {
  const bytes = sizes.flatMap((size) => {
    const { rows, batch } = modes(size);
    const [even, tune] = [rowOf(rows, 'Eval'), rowOf(rows, 'Tune')];
    const row = (what: string, key: 'keptBytes' | 'peakAboveWeights') => [
      `${what}, ResNet-50, ${size} px, batch ${batch}`,
      ...[even, tune].map((r) => `${megabytes(r[key])} MB`),
      `×${(tune[key] / even[key]).toFixed(2)}`,
    ];
    return [row('kept for backward', 'keptBytes'), row('peak above weights', 'peakAboveWeights')];
  });
  const time = times().map(({ backend, model, milliseconds }) => [
    `time of a step, ResNet-50, ${model.size} px, ${backend}`,
    '1',
    ratiosTo('evalMode', milliseconds)['tuneMode']!.toFixed(2),
    `×${ratiosTo('evalMode', milliseconds)['tuneMode']!.toFixed(2)}`,
  ]);
  const { settings, seeds } = accuracy();
  const [even, tune] = [mean(seeds.map((s) => s.evalMode)), mean(seeds.map((s) => s.tuneMode))];
  const right = [`test accuracy, ${settings.model}, ${seeds.length} seeds`, percent(even), percent(tune), points(tune - even)];
  return markdownTable(['', 'Eval mode', 'Tune mode', ''], [...bytes, ...time, right]);
}

/** Every mode of both engines, and PyTorch. */
function bytesTable(): string {
  const parts = sizes.map((size) => {
    const { rows } = modes(size);
    const { rows: theirs, torch } = pytorch(size);
    const names: { readonly [mode: string]: string } = {
      'stock tfjs, Eval': 'stock tfjs, norms called for inference by hand',
      Tune: '**LeanTune, Tune**',
    };
    const ours = rows.map(({ mode, keptBytes, peakAboveWeights }) => [
      names[mode] ?? (mode.startsWith('stock') ? mode : `LeanTune, ${mode}`),
      `${megabytes(keptBytes)} MB`,
      (keptBytes / rowOf(rows, 'Eval').keptBytes).toFixed(2),
      `${megabytes(peakAboveWeights)} MB`,
    ]);
    const peers = theirs.map(({ mode, keptBytes, pairs }) => [
      `PyTorch ${torch.replace(/\+.*/, '')}, ${mode}${pairs ? ` (its own pass, ${pairs} pairs)` : ''}`,
      `${megabytes(keptBytes)} MB`,
      (keptBytes / rowOf(theirs, 'Eval').keptBytes).toFixed(2),
      '',
    ]);
    return markdownTable([`ResNet-50, ${size} px, batch 16`, 'kept for backward', 'of Eval', 'peak above weights'], [...ours, ...peers]);
  });
  return parts.join('\n\n');
}

function timeTable(): string {
  const rows = times().map(({ backend, model, batch, machine, milliseconds, clock }) => [
    `${backend}, ${model.size} px, batch ${batch}`,
    ...['evalMode', 'tuneMode', 'deployMode'].map((mode) => ratiosTo('evalMode', milliseconds)[mode]!.toFixed(2)),
    String(milliseconds['evalMode']!.length),
    clock,
    `${machine.cores} cores of ${machine.cpu}`,
  ]);
  return markdownTable(['time of a step', 'Eval', 'Tune', 'Deploy', 'rounds', 'clock', 'machine'], rows);
}

/** Loss curves: means over sixths of the steps. */
function stabilityTable(): string {
  const parts = ['0.0003', '0.001'].map((rate) => {
    const { curves } = stability(rate);
    const steps = Math.max(...curves.map(({ losses }) => losses.length));
    const ranges = Array.from({ length: 6 }, (_, i) => [(i * steps) / 6, ((i + 1) * steps) / 6] as const);
    const rows = curves.map(({ mode, losses }) => [
      mode,
      losses[0]!.toFixed(2),
      ...ranges.map(([from, to]) => mean(losses.slice(from, to)).toFixed(2)),
    ]);
    return markdownTable([`SGD at ${rate}, loss of step`, '1', ...ranges.map(([from, to]) => `${from + 1}–${to}`)], rows);
  });
  const { model, data, size, batch, seed } = stability('0.001');
  return `${parts.join('\n\n')}\n\n${model} with ImageNet weights, ${data} at ${size} px, batch ${batch}, seed ${seed}; everything trains. Means over four steps.`;
}

function accuracyTable(): string {
  const { settings, seeds } = accuracy();
  const { model, data, size, train, test, batch, epochs, rate } = settings;
  const rows = seeds.map(({ seed, evalMode, tuneMode }) => [
    `seed ${seed}`,
    percent(evalMode),
    percent(tuneMode),
    points(tuneMode - evalMode),
  ]);
  const [even, tune] = [mean(seeds.map((s) => s.evalMode)), mean(seeds.map((s) => s.tuneMode))];
  const all = markdownTable(
    ['test accuracy', 'Eval mode', 'Tune mode', ''],
    [...rows, ['mean', percent(even), percent(tune), points(tune - even)]],
  );
  return `${all}\n\n${model} with ImageNet weights, ${train} photos of ${data} at ${size} px, ${epochs} epochs, batch ${batch}, Adam at ${rate}; ${test} photos test.`;
}
