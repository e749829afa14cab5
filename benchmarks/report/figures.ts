/** The results of the comparison as the documents want them: joined with the matrix, and set in ratio. */
import { existsSync, readFileSync } from 'node:fs';
import type { Accuracies } from '../compare/accuracy.ts';
import { type Cell, type Contest, type Figures, hasRun, nameOf } from '../compare/cell.ts';
import { contestsOf } from '../compare/contests.ts';
import { onBackend, planOf } from '../compare/matrix.ts';
import { type Record, type Results, readResults, SEED } from '../compare/store.ts';

export interface Row {
  readonly cell: Cell;
  readonly outcome: Record;
}

export interface Ran extends Row {
  readonly outcome: Record & Figures;
}

/** A row of the table of levers: each adds one to the row before. */
export interface LeverRow extends Ran {
  readonly lever: string;
  /** How many levers lie below it. */
  readonly step: number;
  /** The same on tensorflow. */
  readonly native: Ran | undefined;
}

export interface Comparison {
  readonly contest: Contest;
  readonly results: Results;
  readonly levers: readonly LeverRow[];
  /** What was tried, in the matrix's order. */
  readonly rows: readonly Row[];
}

/** Of the models that have been measured. */
export function comparisons(): readonly Comparison[] {
  return contestsOf(false)
    .map((contest): Comparison => {
      const results = readResults(contest, SEED);
      const rows = planOf(contest).cells.flatMap((cell) => rowOf(results, cell));
      const levers = planOf(contest).chain.flatMap(({ lever, cell }, step) =>
        rowOf(results, cell)
          .filter(ran)
          .map((row) => ({ lever, step, ...row, native: rowOf(results, onBackend('tensorflow', cell)).find(ran) })),
      );
      return { contest, results, levers, rows };
    })
    .filter(({ levers }) => levers.length > 1);
}

/** The measured cells of these names, and of one model; those that are not measured are left out. */
export function cellsOf(id: string, names: readonly string[]): readonly Ran[] {
  const found =
    comparisons()
      .find(({ contest }) => contest.id === id)
      ?.rows.filter(ran) ?? [];
  return names.flatMap((name) => found.find(({ cell }) => nameOf(cell) === name) ?? []);
}

const rowOf = ({ cells }: Results, cell: Cell): Row[] => {
  const outcome = cells[nameOf(cell)];
  return outcome ? [{ cell, outcome }] : [];
};

export const ran = (row: Row): row is Ran => hasRun(row.outcome);

/** Full training on the same backend: with stock tfjs, or with the peer itself. */
const fullOf = (cell: Cell): Cell => ({ ...cell, engine: cell.engine === 'leantune' ? 'stock' : cell.engine, method: 'full' });

/** Time of the processor over that of full training: with stock tfjs on the same backend, or with the peer itself. Not of software GPUs. */
export function timeRatio({ results }: Comparison, { cell, outcome }: Ran): number | undefined {
  const base = results.cells[nameOf(fullOf(cell))];
  return hasRun(base) && cell.backend !== 'webgpu' ? outcome.processorMilliseconds / base.processorMilliseconds : undefined;
}

/** Peak over that of full training with stock tfjs on wasm, or on the same backend. */
export function peakRatio({ levers, results }: Comparison, { cell, outcome }: Ran): number {
  const stock = results.cells[nameOf({ ...cell, engine: 'stock', method: 'full' })];
  return outcome.peakAboveWeights / (hasRun(stock) ? stock : levers[0]!.outcome).peakAboveWeights;
}

/** Of what full training trains: moving statistics do not count. A model may have a little more as blocks: BERT's pooler. */
export function trainedShare({ results }: Comparison, { cell, outcome }: Ran): number {
  const full = results.cells[nameOf(fullOf(cell))];
  return Math.min(1, outcome.trained / (hasRun(full) ? full.trained : outcome.parameters));
}

const file = new URL('../compare/results/accuracy.json', import.meta.url);

export const accuracies = (): Accuracies | undefined =>
  existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Accuracies) : undefined;

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** How methods are called where there is room for words. */
export function wordsOf({ engine, backend, method }: Cell): string {
  const engines = { stock: 'stock tfjs', leantune: 'LeanTune', torch: 'PyTorch', keras: 'Keras', 'jax-js': 'jax-js' } as const;
  const adapted = engine === 'torch' && /ora/.test(method) ? 'peft' : engines[engine];
  const names: { readonly [word: string]: string } = {
    ...{
      tune: 'tune mode',
      '4bit': '4 bits',
      '8bit': '8 bits',
      lora: 'LoRA',
      dora: 'DoRA',
      velora: 'VeLoRA',
      lamda: 'LaMDA',
      mixed: 'mixed precision',
    },
    ...{ 'lamda-frozen': 'LaMDA, B frozen', blocks: 'blocks', checkpoint: 'checkpoints', side: 'side branch', bfloat16: 'full, bfloat16' },
    ...{ 'mixed-bfloat16': 'mixed precision in bfloat16' },
  };
  const words = method.split(' + ').map((word) => names[word] ?? word);
  const where = backend === 'tensorflow' || backend === 'webgpu' ? ` (${backend})` : '';
  return `${adapted}, ${words.join(' + ')}${where}`;
}
