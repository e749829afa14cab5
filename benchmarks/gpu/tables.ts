/** The tables of gpu/README.md, from gpu/results. */
import { readFileSync } from 'node:fs';
import { markdownTable, megabytes, readJson, type Table } from '../documents.ts';

interface Steps {
  readonly spec: { readonly name: string; readonly width: number; readonly size?: number; readonly tokens?: number };
  readonly batch: number;
  readonly milliseconds: { readonly stock: number; readonly leantune: number };
  readonly timesAsFast: number;
}
type Rates = { readonly [plan: string]: unknown };
interface WebGpu {
  readonly f32: Rates;
  readonly half: Rates;
  readonly transformer: Steps;
  readonly mobilenet: Steps;
}
interface PyTorch {
  readonly torch: string;
  readonly teraflops: { readonly [type: string]: number };
  readonly transformer: { readonly [precision: string]: number };
  readonly mobilenet: { readonly [precision: string]: number };
  /** By width and precision: '1024 f32', '1024 amp float16'. */
  readonly blocks: { readonly [block: string]: number };
}
/** A line of mixed-precision.ts. */
interface MixedRow {
  readonly stage: 'step' | 'time';
  readonly precision: string;
  readonly shape: { readonly width: number; readonly tokens: number; readonly batch: number };
  readonly dispatches?: number;
  readonly keptBytes?: number;
  readonly ms?: number;
}
/** Of packages/backends/bench/webgpu.ts. */
interface Small {
  readonly results: readonly {
    readonly title: string;
    readonly stock: { readonly milliseconds: number };
    readonly leantune: { readonly milliseconds: number };
    readonly timesAsFast: { readonly milliseconds: number };
    readonly losses?: object;
  }[];
}
interface Energy {
  readonly idle: { readonly watts: number };
  readonly runs: readonly { readonly configuration: string; readonly seconds: number; readonly gross: number; readonly steps: number }[];
}
interface Memory {
  readonly rows: readonly {
    readonly title: string;
    readonly stock: { readonly allocated: number };
    readonly leantune: { readonly allocated: number };
  }[];
}

const webgpu = () => readJson<WebGpu>('gpu/results/h200-webgpu.json');
const pytorch = () => readJson<PyTorch>('gpu/results/h200-pytorch.json');

export const tables: readonly Table[] = [
  { file: 'gpu/README.md', marker: 'gpu-specs', text: specsLine },
  { file: 'gpu/README.md', marker: 'gpu-rates', text: ratesTable },
  { file: 'gpu/README.md', marker: 'gpu-steps', text: stepsTable },
  { file: 'gpu/README.md', marker: 'gpu-mixed', text: mixedTable },
  { file: '../docs/techniques/mixed-precision.md', marker: 'gpu-mixed', text: mixedTable },
  { file: 'gpu/README.md', marker: 'gpu-memory', text: memoryTable },
  { file: 'gpu/README.md', marker: 'gpu-energy', text: energyTable },
];

function specsLine(): string {
  const { passed, failed } = readJson<{ readonly passed: number; readonly failed: number }>('gpu/results/h200-specs.json');
  return `Of tfjs-core's ${passed + failed} gradient specs ${passed} pass there ([\`h200-specs.json\`](results/h200-specs.json)).`;
}

/** The fastest plan whose name begins so. */
function best(rates: Rates, begins: string): string {
  const found = Object.entries(rates).filter(([name, rate]) => name.startsWith(begins) && typeof rate === 'number') as [string, number][];
  const [name, rate] = found.reduce((a, b) => (b[1] > a[1] ? b : a));
  return `${rate} (${name})`;
}

function ratesTable(): string {
  const [{ f32, half }, { teraflops, torch }] = [webgpu(), pytorch()];
  return markdownTable(
    ['product of 4096', 'LeanTune, webgpu', `PyTorch ${torch}`],
    [
      ['float32', best(f32, 'tiles'), `${teraflops['f32']} (TF32: ${teraflops['tf32']})`],
      ['float16, shader-f16', best(half, 'f16 tiles'), '–'],
      ['float16, tensor cores', best(half, 'matrices'), `${teraflops['f16']}`],
    ],
  );
}

function stepsTable(): string {
  const [{ transformer, mobilenet }, torch] = [webgpu(), pytorch()];
  const row = (title: string, { batch, milliseconds: { stock, leantune }, timesAsFast }: Steps, peer: PyTorch['mobilenet']) =>
    [
      `${title}, batch ${batch}`,
      `${stock}`,
      `${leantune}`,
      `${timesAsFast.toFixed(1)}×`,
      `${peer['f32']}`,
      `${peer['amp float16']}`,
    ] as const;
  const { tokens, width } = transformer.spec;
  const { results } = readJson<Small>('gpu/results/h200-steps-small.json');
  const small = results.filter(({ losses }) => losses);
  return markdownTable(
    ['ms a training step with Adam', 'stock tfjs', 'LeanTune', 'faster', 'PyTorch float32', 'PyTorch AMP'],
    [
      row(`transformer block of ${width}, ${tokens} tokens`, transformer, torch.transformer),
      row(`MobileNetV2, ${mobilenet.spec.size} px`, mobilenet, torch.mobilenet),
      ...small.map(({ title, stock, leantune, timesAsFast }) => [
        title,
        `${stock.milliseconds}`,
        `${leantune.milliseconds}`,
        `${timesAsFast.milliseconds.toFixed(1)}×`,
        '–',
        '–',
      ]),
    ],
  );
}

/** Blocks of several widths in float32 and mixed_float16, beside PyTorch's own pair. */
function mixedTable(): string {
  const lines = readFileSync(new URL('results/h200-mixed-precision.jsonl', import.meta.url), 'utf8')
    .trim()
    .split('\n');
  const rows = lines.map((line) => JSON.parse(line) as MixedRow);
  const { blocks } = pytorch();
  const shapes = rows.filter(({ stage, precision }) => stage === 'time' && precision === 'float32').map(({ shape }) => shape);
  const cells = shapes.map(({ width, tokens, batch }) => {
    const of = (stage: MixedRow['stage'], precision: string): MixedRow =>
      rows.findLast((row) => row.stage === stage && row.precision === precision && row.shape.width === width)!;
    const [full, half] = [of('time', 'float32').ms!, of('time', 'mixed_float16').ms!];
    const [kept, keptHalf] = [of('step', 'float32').keptBytes!, of('step', 'mixed_float16').keptBytes!];
    const [theirs, amp] = [blocks[`${width} f32`]!, blocks[`${width} amp float16`]!];
    return [
      `width ${width}, ${tokens} tokens, batch ${batch}`,
      full.toFixed(1),
      half.toFixed(1),
      `×${(half / full).toFixed(2)}`,
      `×${(keptHalf / kept).toFixed(3)}`,
      theirs.toFixed(1),
      amp.toFixed(1),
      `×${(amp / theirs).toFixed(2)}`,
    ];
  });
  return markdownTable(
    ['ms a step with SGD', 'float32', 'mixed_float16', 'time', 'kept bytes', 'PyTorch float32', 'PyTorch AMP', 'its time'],
    cells,
  );
}

function memoryTable(): string {
  const { rows } = readJson<Memory>('gpu/results/h200-memory.json');
  const cells = rows.map(({ title, stock, leantune }) => [
    title,
    megabytes(stock.allocated),
    megabytes(leantune.allocated),
    `×${(leantune.allocated / stock.allocated).toFixed(3)}`,
  ]);
  return markdownTable(['most MB that buffers took, batch 8', 'stock tfjs', 'LeanTune', 'share'], cells);
}

/** Means over the runs; net of idle power. */
function energyTable(): string {
  const engines = [
    ['LeanTune, webgpu', 'h200-energy-webgpu'],
    ['PyTorch', 'h200-energy-pytorch'],
  ] as const;
  const cells = engines.flatMap(([engine, file]) => {
    const { idle, runs } = readJson<Energy>(`gpu/results/${file}.json`);
    return ['float32', 'mixed_float16'].map((precision) => {
      const own = runs.filter(({ configuration }) => configuration === precision);
      const mean = (f: (run: Energy['runs'][number]) => number): number => own.reduce((sum, run) => sum + f(run), 0) / own.length;
      return [
        `${engine}, ${precision}, ${own.length} runs`,
        mean(({ seconds, steps }) => (1000 * seconds) / steps).toFixed(1),
        mean(({ gross, seconds }) => gross / seconds).toFixed(0),
        mean(({ gross, steps }) => gross / steps).toFixed(2),
        mean(({ gross, seconds, steps }) => (gross - idle.watts * seconds) / steps).toFixed(2),
      ];
    });
  });
  return markdownTable(['training step of a block of 1024, 256 tokens, batch 32', 'ms', 'W', 'J gross', 'J net of idle'], cells);
}
