/** Which cells there are: every technique, the combinations that make sense, on the backends that add something, and the peers. */
import type { Cell, Contest, Engine } from './cell.ts';

interface Plan {
  /** Each row adds one lever to the row before; the first is stock tfjs. Of the report's table of levers. */
  readonly chain: readonly { readonly lever: string; readonly cell: Cell }[];
  readonly cells: readonly Cell[];
}

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
  'tune + checkpoint',
  '4bit',
  'mixed',
  'lora',
  'dora',
  'lamda',
  'biases + 4bit',
  'prompt',
  'side',
  'tune + biases + 4bit',
];
const attentive = ['mixed', 'checkpoint', 'lora', 'dora', 'lamda', 'lamda-frozen', 'lora + 4bit', 'biases + 4bit', 'prompt', 'side'];

const last = (chain: Plan['chain']): string => chain.at(-1)!.cell.method;

/** The cells of a model. */
export function planOf({ spec }: Contest): Plan {
  const layers = spec.name === 'mobilenet-v2' || spec.name === 'resnet-50';
  const chain = layers ? images : transformers;
  const own = layers ? convolutional : attentive.map((method) => `blocks + ${method}`);
  const some = spec.name === 'decoder' ? singles.slice(2) : singles;
  const cells = [
    ...chain.map((row) => row.cell),
    ...many('stock', 'wasm', spec.name === 'decoder' ? [] : ['head', 'biases']),
    ...many('leantune', 'wasm', [...some, ...own]),
    ...many('stock', 'tensorflow', ['full']),
    ...many('leantune', 'tensorflow', ['full', layers ? 'tune' : 'blocks', last(chain)]),
    ...(spec.name === 'mobilenet-v2' || spec.name === 'encoder'
      ? [cell('stock', 'webgpu', 'full'), ...many('leantune', 'webgpu', ['full', last(chain)])]
      : []),
    ...many('torch', 'cpu', ['full', 'full + checkpoint', 'head', 'biases', 'lora', 'dora', 'velora', 'lora + checkpoint', 'bfloat16']),
    ...many('keras', 'torch', ['full', 'full + checkpoint', 'head', 'lora']),
    ...many('jax-js', 'wasm', ['full']),
  ];
  const unlike = new Map(cells.map((one) => [JSON.stringify(one), one]));
  return { chain, cells: [...unlike.values()] };
}
