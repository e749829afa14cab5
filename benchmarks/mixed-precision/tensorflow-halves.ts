/**
 * Processor time of products on TensorFlow's CPU kernels: in float32, as mixed precision runs them there (float32 between roundings), and by
 * TensorFlow's own kernels in half precision, casts included. Medians of runs in turns.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/mixed-precision/tensorflow-halves.ts [--rounds 9] [--write]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import * as tf from '@tensorflow/tfjs';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '9' }, write: { type: 'boolean', default: false } } });
const rounds = Number(values.rounds);
await useBackend('tensorflow');

const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: object): tf.Tensor =>
  tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap);
const conv = { strides: [1, 1], pad: 'same', dataFormat: 'NHWC', dilations: [1, 1], dimRoundingMode: undefined };
const [x, filter, dy] = [
  [8, 24, 24, 64],
  [3, 3, 64, 64],
  [8, 24, 24, 64],
];
type Case = readonly [title: string, kernel: string, shapes: { readonly [input: string]: number[] }, attrs: object];
const cases: readonly Case[] = [
  ['matrix product, 512 x 1024 x 1024', 'BatchMatMul', { a: [512, 1024], b: [1024, 1024] }, { transposeA: false, transposeB: false }],
  ['matrix product, 256 x 384 x 384', 'BatchMatMul', { a: [256, 384], b: [384, 384] }, { transposeA: false, transposeB: false }],
  ['convolution 3 x 3, 64 to 64 channels', 'Conv2D', { x: x!, filter: filter! }, conv],
  ['its gradient of x', 'Conv2DBackpropInput', { dy: dy!, filter: filter! }, { ...conv, inputShape: x }],
  ['its gradient of the filter', 'Conv2DBackpropFilter', { x: x!, dy: dy! }, { ...conv, filterShape: filter }],
];

const rows = cases.flatMap(([title, kernel, shapes, attrs]) => {
  const inputs = Object.fromEntries(
    Object.entries(shapes).map(([name, shape], i) => [name, tf.randomNormal(shape, 0, 1, 'float32', i + 1)]),
  );
  const made = (['float16', 'bfloat16'] as const).map((half) => {
    const round = (x: tf.Tensor): tf.Tensor => run('RoundHalf', { x }, { half });
    const ways = {
      float32: () => run(kernel, inputs, attrs),
      emulated: () => round(run(kernel, Object.fromEntries(Object.entries(inputs).map(([name, x]) => [name, round(x)])), attrs)),
      own: () => asOnGpu(() => run(`Half${kernel}`, inputs, { ...attrs, half, halves: [] })),
    };
    const times = inTurns(ways);
    return { title, half, ...times };
  });
  tf.dispose(inputs);
  return made;
});
console.table(rows);
if (values.write) {
  const processor = /model name\s*: (.*)/.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1] ?? 'unknown';
  const version = (tf.backend() as unknown as { binding: { TF_Version: string } }).binding.TF_Version;
  const command = 'npx tsx --conditions=@leantune/source benchmarks/mixed-precision/tensorflow-halves.ts --write';
  const result = { command, date: new Date().toISOString(), processor, tensorflow: version, unit: 'ms of processor time', rows };
  writeFileSync(new URL('results/tensorflow-halves.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}

/** TensorFlow's own kernels, whatever the device. */
function asOnGpu(f: () => tf.Tensor): tf.Tensor {
  const backend = tf.backend() as unknown as { isUsingGpuDevice: boolean };
  const before = backend.isUsingGpuDevice;
  backend.isUsingGpuDevice = true;
  try {
    return f();
  } finally {
    backend.isUsingGpuDevice = before;
  }
}

function inTurns<Way extends string>(ways: { readonly [way in Way]: () => tf.Tensor }): { readonly [way in Way]: number } {
  const times = new Map<string, number[]>(Object.keys(ways).map((way) => [way, []]));
  for (let round = 0; round <= rounds; round++)
    for (const [way, f] of Object.entries<() => tf.Tensor>(ways)) {
      const before = process.cpuUsage();
      tf.tidy(() => void f());
      const { user, system } = process.cpuUsage(before);
      if (round > 0) times.get(way)!.push((user + system) / 1000);
    }
  const median = (all: number[]): number => Number(all.toSorted((a, b) => a - b)[Math.floor(all.length / 2)]!.toFixed(2));
  return Object.fromEntries([...times].map(([way, all]) => [way, median(all)])) as { [way in Way]: number };
}
