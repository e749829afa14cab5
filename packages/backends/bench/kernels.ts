/**
 * Times our wasm kernels against tfjs's own, side by side in one process, and prints a table of the ratios.
 *
 *   npx tsx --conditions=@leantune/source packages/backends/bench/kernels.ts [filter]
 *
 * A time is the median of interleaved runs. "lacks" means that tfjs has no such kernel.
 */
import * as tf from '@tensorflow/tfjs';
import '@tensorflow/tfjs-backend-wasm';
import { useBackend } from '../src/index.ts';

interface Case {
  readonly name: string;
  readonly kernel: string;
  readonly inputs: { readonly [name: string]: number[] | tf.TensorInfo };
  readonly attrs: { readonly [name: string]: unknown };
  /** Floating-point operations. */
  readonly flops?: number;
}

const stock = new Map((tf.getKernelsForBackend('wasm') ?? []).map((config) => [config.kernelName, config.kernelFunc]));
await useBackend('wasm');

const product = tf.util.sizeFromShape;
const swapped = (shape: number[], swap: boolean): number[] => (swap ? [...shape.slice(0, -2), ...shape.slice(-2).reverse()] : shape);

function matMul(batch: number[], m: number, k: number, n: number, transposeA: boolean, transposeB: boolean): Case {
  const letters = `${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'}`;
  return {
    name: `matMul ${letters} ${[...batch, m, k, n].join('x')}`,
    kernel: 'BatchMatMul',
    inputs: { a: swapped([...batch, m, k], transposeA), b: swapped([...batch, k, n], transposeB) },
    attrs: { transposeA, transposeB },
    flops: 2 * product(batch) * m * k * n,
  };
}

/** Both gradients of a convolution with 'same' padding. */
function convGradients(
  label: string,
  [b, size, cin]: [number, number, number],
  kernelSize: number,
  cout: number,
  strides: number,
  depthwise = false,
): Case[] {
  const x = [b, size, size, cin];
  const w = [kernelSize, kernelSize, cin, depthwise ? 1 : cout];
  const out = Math.ceil(size / strides);
  const dy = [b, out, out, cout];
  const attrs = { strides: [strides, strides], pad: 'same', dataFormat: 'NHWC', dilations: [1, 1], inputShape: x, filterShape: w };
  const flops = 2 * b * out * out * kernelSize ** 2 * cin * (depthwise ? 1 : cout);
  const [input, filter] = depthwise
    ? ['DepthwiseConv2dNativeBackpropInput', 'DepthwiseConv2dNativeBackpropFilter']
    : ['Conv2DBackpropInput', 'Conv2DBackpropFilter'];
  const name = `${label}, ${x.join('x')} -> ${cout}, ${kernelSize}x${kernelSize}/${strides}`;
  return [
    { name: `input gradient, ${name}`, kernel: input, inputs: { dy, filter: w }, attrs, flops },
    { name: `filter gradient, ${name}`, kernel: filter, inputs: { x, dy }, attrs, flops },
  ];
}

const activations = [16, 48, 48, 96];
const scalar = tf.scalar(0.5);
const mask = tf.greater(tf.randomNormal(activations), 0);
const cases: Case[] = [
  ...[
    [false, false],
    [false, true],
    [true, false],
    [true, true],
  ].map(([a, b]) => matMul([], 512, 512, 512, a as boolean, b as boolean)),
  {
    name: 'dense 1024x512x512, bias and relu',
    kernel: '_FusedMatMul',
    inputs: { a: [1, 1024, 512], b: [1, 512, 512], bias: [512] },
    attrs: { transposeA: false, transposeB: false, activation: 'relu' },
    flops: 2 * 1024 * 512 * 512,
  },
  matMul([], 512, 384, 1536, false, true),
  matMul([], 384, 512, 1536, true, false),
  matMul([96], 128, 32, 128, false, true),
  matMul([96], 128, 128, 32, false, false),
  matMul([96], 128, 128, 32, true, false),
  ...convGradients('stem', [8, 96, 3], 3, 16, 2),
  ...convGradients('MobileNetV2 expand', [8, 24, 16], 1, 96, 1),
  ...convGradients('MobileNetV2 project', [8, 24, 96], 1, 16, 1),
  ...convGradients('MobileNetV2 depthwise', [8, 24, 96], 3, 96, 1, true),
  ...convGradients('MobileNetV2 depthwise', [8, 48, 48], 3, 48, 2, true),
  ...convGradients('ResNet-50', [2, 28, 128], 3, 128, 1),
  ...convGradients('ResNet-50', [2, 14, 1024], 1, 256, 1),
  ...convGradients('ResNet-50 downsample', [2, 28, 512], 1, 1024, 2),
  ...convGradients('conv', [8, 32, 32], 3, 64, 1),
  {
    name: 'max pool gradient',
    kernel: 'MaxPoolGrad',
    inputs: { dy: [8, 28, 28, 64], input: [8, 56, 56, 64], output: [8, 28, 28, 64] },
    attrs: { filterSize: [3, 3], strides: [2, 2], pad: 'same' },
  },
  {
    name: 'average pool gradient',
    kernel: 'AvgPoolGrad',
    inputs: { dy: [8, 28, 28, 64], input: [8, 56, 56, 64] },
    attrs: { filterSize: [3, 3], strides: [2, 2], pad: 'same' },
  },
  {
    name: 'batch norm',
    kernel: 'FusedBatchNorm',
    inputs: { x: activations, mean: [96], variance: tf.ones([96]), scale: [96], offset: [96] },
    attrs: { varianceEpsilon: 1e-3 },
  },
  { name: 'sum over all but channels', kernel: 'Sum', inputs: { x: activations }, attrs: { axis: [0, 1, 2], keepDims: false } },
  { name: 'mean over the last axis', kernel: 'Mean', inputs: { x: [4096, 384] }, attrs: { axis: [1], keepDims: true } },
  { name: 'multiply by 16 channels', kernel: 'Multiply', inputs: { a: [16, 48, 48, 16], b: [16] }, attrs: {} },
  { name: 'multiply by 96 channels', kernel: 'Multiply', inputs: { a: activations, b: [96] }, attrs: {} },
  { name: 'maximum', kernel: 'Maximum', inputs: { a: activations, b: activations }, attrs: {} },
  ...['Exp', 'Tanh', 'Erf'].map((kernel) => ({ name: kernel.toLowerCase(), kernel, inputs: { x: [512, 384] }, attrs: {} })),
  { name: 'maximum with a column', kernel: 'Maximum', inputs: { a: [4096, 384], b: [4096, 1] }, attrs: {} },
  { name: 'equal to the largest of a channel', kernel: 'Equal', inputs: { a: activations, b: [16, 1, 1, 96] }, attrs: {} },
  { name: 'transpose to channels first', kernel: 'Transpose', inputs: { x: activations }, attrs: { perm: [0, 3, 1, 2] } },
  { name: 'tile channels', kernel: 'Tile', inputs: { x: [1, 1, 1, 96] }, attrs: { reps: [16, 48, 48, 1] } },
  { name: 'compare with a number', kernel: 'Greater', inputs: { a: activations, b: scalar }, attrs: {} },
  { name: 'logical and', kernel: 'LogicalAnd', inputs: { a: mask, b: mask }, attrs: {} },
  { name: 'mask to float', kernel: 'Cast', inputs: { x: mask }, attrs: { dtype: 'float32' } },
  { name: 'where', kernel: 'Select', inputs: { condition: mask, t: activations, e: activations }, attrs: {} },
  {
    name: 'gather 512 rows of 384',
    kernel: 'GatherV2',
    inputs: { x: [5000, 384], indices: tf.randomUniform([512], 0, 5000, 'int32') },
    attrs: { axis: 0, batchDims: 0 },
  },
  { name: 'slice 514 of 32,000 rows of 288', kernel: 'Slice', inputs: { x: [32_000, 288] }, attrs: { begin: [5140, 0], size: [514, 288] } },
  { name: 'slice 64 of 128 tokens', kernel: 'Slice', inputs: { x: [8, 128, 384] }, attrs: { begin: [0, 32, 0], size: [8, 64, 384] } },
  { name: 'clone', kernel: 'Identity', inputs: { x: activations }, attrs: {} },
];

function time(f: tf.KernelFunc | undefined, inputs: tf.NamedTensorInfoMap, attrs: tf.NamedAttrMap): number | undefined {
  if (!f) return undefined;
  const start = performance.now();
  const out = f({ inputs, attrs, backend: tf.backend() }) as tf.TensorInfo;
  const elapsed = performance.now() - start;
  tf.backend().disposeData(out.dataId);
  return elapsed;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] as number;

function measure({ kernel, inputs, attrs }: Case): { ours: number; theirs: number | undefined } {
  const made: tf.Tensor[] = [];
  const given: tf.NamedTensorInfoMap = Object.fromEntries(
    Object.entries(inputs).map(([name, value]) => {
      if (!Array.isArray(value)) return [name, value];
      made.push(tf.randomNormal(value));
      return [name, made.at(-1)];
    }),
  );
  const [ours, theirs]: [number[], number[]] = [[], []];
  const began = performance.now();
  for (let i = 0; i < 25 && (i < 3 || performance.now() - began < 1500); i++) {
    theirs.push(time(stock.get(kernel), given, attrs as tf.NamedAttrMap) ?? 0);
    ours.push(time(tf.getKernel(kernel, 'wasm').kernelFunc, given, attrs as tf.NamedAttrMap) as number);
  }
  tf.dispose(made);
  return { ours: median(ours), theirs: stock.has(kernel) ? median(theirs) : undefined };
}

console.log('| kernel | tfjs ms | ours ms | ours, GFLOP/s | times as fast |\n| --- | --: | --: | --: | --: |');
for (const item of cases.filter(({ name, kernel }) => `${name} ${kernel}`.includes(process.argv[2] ?? ''))) {
  const { ours, theirs } = measure(item);
  const rate = item.flops ? (item.flops / ours / 1e6).toFixed(1) : '';
  console.log(
    `| ${item.name} | ${theirs?.toFixed(2) ?? 'lacks'} | ${ours.toFixed(2)} | ${rate} | ${theirs ? (theirs / ours).toFixed(1) : ''} |`,
  );
}
