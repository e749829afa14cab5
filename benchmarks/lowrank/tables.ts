/** The table of docs/techniques/lamda.md, from lowrank/results. */
import { existsSync } from 'node:fs';
import { at, markdownTable, megabytes, readJson, type Table } from '../documents.ts';

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

interface PyTorch {
  readonly torch: string;
  readonly peft: string;
  readonly rows: readonly { readonly model: string; readonly keptBytes: number; readonly peakAboveWeights: number }[];
}

const batches = { minilm: 'MiniLM, 8 texts of 128 tokens', stories15M: 'stories15M, 4 texts of 256 tokens' } as const;

export const tables: readonly Table[] = [{ file: '../docs/techniques/lamda.md', marker: 'lamda-memory', text: memoryTables }];

function memoryTables(): string {
  const torch = readJson<PyTorch>('lowrank/results/pytorch.json');
  return Object.entries(batches)
    .filter(([model]) => existsSync(at(`lowrank/results/${model}.json`)))
    .map(([model, batch]) => memoryTable(model, batch, readJson<Result>(`lowrank/results/${model}.json`), torch))
    .join('\n\n');
}

function memoryTable(model: string, batch: string, { rank, freezeFraction, backend, rows }: Result, torch: PyTorch): string {
  const theirs = torch.rows.find((row) => row.model === model)!;
  const [lora] = rows as [Row];
  const timed = rows.every(({ milliseconds }) => milliseconds !== null);
  const cells = (keptBytes: number, peak: number) => [
    megabytes(keptBytes),
    megabytes(peak),
    ...[theirs.peakAboveWeights, lora.peakAboveWeights].map((base) => `×${(base / peak).toFixed(2)}`),
  ];
  const ours = rows.map(({ method, keptBytes, peakAboveWeights, updatesPerRun, milliseconds }) => [
    method,
    ...cells(keptBytes, peakAboveWeights),
    method === 'lora' ? updatesPerRun.toLocaleString('en') : `1/${(lora.updatesPerRun / updatesPerRun).toFixed(1)}`,
    ...(timed ? [`×${(milliseconds! / lora.milliseconds!).toFixed(2)}`] : []),
  ]);
  const peft = [
    `peft ${torch.peft}, PyTorch ${torch.torch.replace(/\+.*/, '')}`,
    ...cells(theirs.keptBytes, theirs.peakAboveWeights),
    ...(timed ? ['', ''] : ['']),
  ];
  const head = [
    `${batch}, rank ${rank}, η = ${freezeFraction}, ${backend}`,
    'kept MB',
    'peak MB',
    "peft's",
    "lora's",
    'moved in 1000 steps',
  ];
  return markdownTable([...head, ...(timed ? ['step'] : [])], [peft, ...ours]);
}
