/** Which cells there are: every technique, the combinations that make sense, on the backends that add something, and the peers. */
import { type Cell, type Contest, type Engine, nameOf } from './cell.ts';

interface Plan {
  /** Each row adds one lever to the row before; the first is stock tfjs. Of the report's table of levers. */
  readonly chain: readonly { readonly lever: string; readonly cell: Cell }[];
  readonly cells: readonly Cell[];
}

export const onBackend = (backend: string, { engine, method }: Cell): Cell => ({ engine, backend, method });
const cell = (engine: Engine, backend: string, method: string): Cell => ({ engine, backend, method });
const many = (engine: Engine, backend: string, methods: readonly string[]): Cell[] =>
  methods.map((method) => cell(engine, backend, method));

/** Of networks of convolutions and batch norms. */
const images = chained(
  ['lever: stock tfjs', 'full'],
  [
    ['the tape', 'full'],
    ['tune mode', 'tune'],
    ['4 bits (S2A)', 'tune + 4bit'],
    ['LaMDA', 'tune + 4bit + lamda'],
    ['mixed precision', 'tune + 4bit + lamda + mixed'],
    ['checkpointing', 'tune + 4bit + lamda + mixed + checkpoint'],
  ],
);

/** Of transformers. */
const transformers = chained(
  ['lever: stock tfjs', 'full'],
  [
    ['the tape', 'full'],
    ['fused blocks', 'blocks'],
    ['4 bits (S2A)', 'blocks + 4bit'],
    ['LaMDA', 'blocks + 4bit + lamda'],
    ['mixed precision', 'blocks + 4bit + lamda + mixed'],
    ['checkpointing', 'blocks + 4bit + lamda + mixed + checkpoint'],
  ],
);

function chained([stock, method]: [string, string], rest: readonly (readonly [string, string])[]): Plan['chain'] {
  return [
    { lever: stock.replace('lever: ', ''), cell: cell('stock', 'wasm', method) },
    ...rest.map(([lever, stack]) => ({ lever, cell: cell('leantune', 'wasm', stack) })),
  ];
}

const singles = ['head', 'biases', 'full + checkpoint'];
const convolutional = [
  ...['tune + checkpoint', '4bit', 'mixed', 'mixed-bfloat16', 'lora', 'dora', 'lamda', 'prompt', 'side'],
  ...['biases + 4bit', 'biases + 8bit', 'tune + biases + 4bit'],
];
const attentive = [
  ...['checkpoint', 'mixed', 'mixed-bfloat16', 'lora', 'dora', 'lamda', 'lamda-frozen', 'prompt', 'side'],
  ...['lora + 4bit', 'biases', 'biases + 4bit', 'biases + 8bit'],
];

/** What Llama has none of. */
const without: { readonly [model: string]: readonly string[] } = { decoder: ['head', 'biases'] };

/** The cells of a model. */
export function planOf({ spec }: Contest): Plan {
  const layers = spec.name === 'mobilenet-v2' || spec.name === 'resnet-50';
  const chain = layers ? images : transformers;
  const has = ({ method }: Cell): boolean => !method.split(' + ').some((word) => without[spec.name]?.includes(word));
  const own = layers ? convolutional : attentive.map((method) => `blocks + ${method}`);
  const webgpu = spec.name === 'mobilenet-v2' || spec.name === 'encoder' ? [0, 1, chain.length - 1] : [];
  const cells = [
    ...chain.map((row) => row.cell),
    ...chain.map((row) => onBackend('tensorflow', row.cell)),
    ...webgpu.map((row) => onBackend('webgpu', chain[row]!.cell)),
    ...many('stock', 'wasm', ['head', 'biases']),
    ...many('leantune', 'wasm', [...singles, ...own]),
    ...many('torch', 'cpu', ['full', 'full + checkpoint', 'head', 'biases', 'lora', 'dora', 'velora', 'lora + checkpoint', 'bfloat16']),
    ...many('keras', 'torch', ['full', 'full + checkpoint', 'head', 'lora']),
    ...many('jax-js', 'wasm', layers ? [] : ['full']), // it has no models; the transformers are written in peers/jax-models.ts
  ];
  const unlike = new Map(cells.filter(has).map((one) => [nameOf(one), one]));
  return { chain, cells: [...unlike.values()] };
}
