/** The table of docs/techniques/lamda.md, from lowrank/results. */
import { existsSync } from 'node:fs';
import { RANK } from '../compare/stacks.ts';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';
import { cellsOf, mean } from '../report/figures.ts';

interface Result {
  readonly rank: number;
  readonly freezeFraction: number;
  readonly backend: string;
  readonly rows: readonly Row[];
}

interface Row {
  readonly method: string;
  readonly updatesPerRun: number;
  readonly keptBytes: number;
  readonly peakAboveWeights: number;
  /** null where none was taken. */
  readonly milliseconds: number | null;
}

const batches = { minilm: 'MiniLM, 8 texts of 128 tokens', stories15M: 'stories15M, 4 texts of 256 tokens' } as const;

const file = '../docs/techniques/lamda.md';
export const tables: readonly Table[] = [
  { file, marker: 'lamda-memory', text: memoryTables },
  { file, marker: 'lamda-losses', text: lossTables },
  { file, marker: 'lamda-svd', text: svdTable },
];

/** As examples/adapters writes it. */
interface Comparison {
  readonly settings: {
    readonly rank: number;
    readonly freezeFraction: number;
    readonly steps: number;
    readonly batch: number;
    readonly tokens: number;
  };
  readonly runs: readonly {
    readonly method: string;
    readonly rate: number;
    readonly loss: number;
    readonly before: number;
    readonly updates: number;
  }[];
}

const tasks = { stories15M: 'stories15M, "Alice in Wonderland"', minilm: 'MiniLM, topics of questions' } as const;

function lossTables(): string {
  return Object.entries(tasks)
    .filter(([task]) => existsSync(at(`../examples/adapters/results/${task}.json`)))
    .map(([task, title]) => lossTable(title, readJson<Comparison>(`../examples/adapters/results/${task}.json`)))
    .join('\n\n');
}

function lossTable(title: string, { settings, runs }: Comparison): string {
  const { rank, freezeFraction, steps, batch, tokens } = settings;
  const most = Math.max(...runs.map(({ updates }) => updates));
  const rows = [...new Set(runs.map(({ method }) => method))].map((method) => {
    const own = runs.filter((run) => run.method === method);
    const [{ rate, updates }] = own as [(typeof own)[number]];
    return [
      method,
      `${rate}`,
      spread(own.map(({ before }) => before)),
      spread(own.map(({ loss }) => loss)),
      `${own.length}`,
      updates === most ? updates.toLocaleString('en') : `1/${(most / updates).toFixed(1)}`,
    ];
  });
  const what = `${title}, rank ${rank}, η = ${freezeFraction}, ${steps} steps of ${batch} x ${tokens} tokens`;
  return markdownTable([what, 'learning rate', 'test loss before', 'after', 'seeds', 'numbers moved'], rows);
}

/** Mean and standard deviation. */
function spread(values: readonly number[]): string {
  const middle = mean(values);
  if (values.length < 2) return middle.toFixed(3);
  const variance = values.reduce((sum, x) => sum + (x - middle) ** 2, 0) / (values.length - 1);
  return `${middle.toFixed(3)} ± ${Math.sqrt(variance).toFixed(3)}`;
}

interface Svd {
  readonly size: number;
  readonly rank: number;
  readonly rows: readonly {
    readonly backend: string;
    readonly seconds: number;
    readonly processorSeconds: number;
    readonly error: number;
  }[];
}

function svdTable(): string {
  if (!existsSync(at('lowrank/results/svd.json'))) return '';
  const { size, rank, rows } = readJson<Svd>('lowrank/results/svd.json');
  return markdownTable(
    [`${size} x ${size}, rank ${rank}`, 'seconds', "of the processor's", 'largest relative error of a singular value'],
    rows.map(({ backend, seconds, processorSeconds, error }) => [backend, `${seconds}`, `${processorSeconds}`, error.toExponential(1)]),
  );
}

function memoryTables(): string {
  return Object.entries(batches)
    .flatMap(([model, batch]) => ['', '-rank32'].map((rank) => ({ model, batch, file: `lowrank/results/${model}${rank}.json` })))
    .filter(({ file }) => existsSync(at(file)))
    .map(({ model, batch, file }) => memoryTable(model, batch, readJson<Result>(file)))
    .join('\n\n');
}

function memoryTable(model: string, batch: string, { rank, freezeFraction, backend, rows }: Result): string {
  const [peftRow] = rank === RANK ? cellsOf(model, ['torch cpu: lora']) : [];
  const [lora] = rows as [Row];
  const timed = rows.every(({ milliseconds }) => milliseconds !== null);
  const cells = (keptBytes: number, peak: number) => [
    megabytes(keptBytes),
    megabytes(peak),
    ...[...(peftRow ? [peftRow.outcome] : []), lora].map(({ peakAboveWeights }) => `×${(peakAboveWeights / peak).toFixed(2)}`),
  ];
  const ours = rows.map(({ method, keptBytes, peakAboveWeights, updatesPerRun, milliseconds }) => [
    method,
    ...cells(keptBytes, peakAboveWeights),
    method === 'lora' ? updatesPerRun.toLocaleString('en') : `1/${(lora.updatesPerRun / updatesPerRun).toFixed(1)}`,
    ...(timed ? [`×${(milliseconds! / lora.milliseconds!).toFixed(2)}`] : []),
  ]);
  const peft = (peftRow ? [peftRow.outcome] : []).map(({ versions, keptBytes, peakAboveWeights }) => [
    `peft ${versions['peft']}, PyTorch ${versions['torch']}`,
    ...cells(keptBytes ?? 0, peakAboveWeights),
    ...(timed ? ['', ''] : ['']),
  ]);
  const head = [
    `${batch}, rank ${rank}, η = ${freezeFraction}, ${backend}`,
    'kept MB',
    'peak MB',
    ...peft.map(() => "peft's"),
    "lora's",
    'moved in 1000 steps',
  ];
  return markdownTable([...head, ...(timed ? ['step'] : [])], [...peft, ...ours]);
}
