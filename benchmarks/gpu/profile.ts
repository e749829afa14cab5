/**
 * Where the time of a training step of a transformer block goes through WebGPU, for each precision: on the GPU by kernel, read from timestamps,
 * and in JavaScript by function and by what it asks of the device.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/gpu/profile.ts [--width 1024] [--tokens 512] [--batch 8] [--layers 1]
 *     [--precisions float32,mixed_float16] [--steps 5] [--most 25] [--output FILE]
 *
 * Kernels are timed one by one, each in a pass of its own, which keeps them from overlapping: their sum is the least that a step can take
 * as they are. `step` is measured apart, without timestamps; what it takes beyond the sum is waiting.
 */
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector/promises';
import { parseArgs } from 'node:util';
import { useBackend } from '@leantune/backends';
import type { WebGPUBackend } from '@leantune/backends/webgpu';
import * as tf from '@tensorflow/tfjs';
import { precisionsIn } from '../tasks/precisions.ts';
import { nameOf } from '../webgpu/count-kernels.ts';
import { type KernelTime, timeKernels } from './time-kernels.ts';
import { shapeIn, shapeOptions, trainBlock } from './train-block.ts';

const { values } = parseArgs({
  options: {
    ...shapeOptions,
    precisions: { type: 'string', default: 'float32,mixed_float16' },
    steps: { type: 'string', default: '5' },
    most: { type: 'string', default: '25' },
    output: { type: 'string' },
  },
});
const shape = shapeIn(values);
const [steps, most] = [Number(values.steps), Number(values.most)];
const asked = precisionsIn(values.precisions, 'profile');
const rounded = (x: number): number => Number(x.toPrecision(4));

await useBackend('webgpu');
const backend = tf.backend() as WebGPUBackend;
const kernelTimes = timeKernels(backend);
const report: { [precision: string]: object } = {};
for (const precision of asked) {
  const step = trainBlock(precision, shape);
  for (let i = 0; i < 3; i++) step();
  const calls = watchCalls();
  const session = new Session();
  session.connect();
  await session.post('Profiler.enable');
  await session.post('Profiler.setSamplingInterval', { interval: 200 });
  await session.post('Profiler.start');
  const times = Array.from({ length: steps }, step);
  const { profile } = (await session.post('Profiler.stop')) as unknown as { profile: CpuProfile };
  session.disconnect();
  const called = calls();
  // The card slows down when it waits: the least of several.
  const rounds: KernelTime[][] = [];
  for (let i = 0; i < 4; i++) {
    for (let warm = 0; warm < 4; warm++) step();
    rounds.push(await kernelTimes(() => void step()));
  }
  const kernels = rounds[0]!.map(({ label, workgroups }, i) => ({
    name: /^matMul/.test(label) ? `${label} ${workgroups}` : nameOf(label),
    ms: Math.min(...rounds.map((round) => round[i]!.ms)),
  }));
  const onGpu = total(kernels.map(({ name, ms }) => [name, ms]));
  report[precision] = {
    stepMs: rounded(Math.min(...times.map(({ ms }) => ms))),
    recordMs: rounded(Math.min(...times.map(({ recordMs }) => recordMs))),
    gpuMs: rounded(kernels.reduce((sum, { ms }) => sum + ms, 0)),
    kernels: onGpu.slice(0, most),
    calls: called,
    functions: total(selfTimes(profile)).slice(0, most),
  };
  console.log(precision, JSON.stringify(report[precision], null, 1));
}
if (values.output) writeFileSync(values.output, `${JSON.stringify({ ...shape, report }, null, 1)}\n`);
process.exit(0);

interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Milliseconds a step in each function itself. */
function selfTimes({ nodes, samples, timeDeltas }: CpuProfile): [string, number][] {
  const names = new Map(nodes.map(({ id, callFrame: { functionName, url } }) => [id, `${functionName} ${url.replace(/^.*\//, '')}`]));
  return samples.map((id, i) => [names.get(id)!, timeDeltas[i]! / 1000 / steps]);
}

/** Sums and counts by name, the largest sum first. */
function total(parts: readonly (readonly [string, number])[]): { name: string; ms: number; count: number }[] {
  const sums = new Map<string, { ms: number; count: number }>();
  for (const [name, ms] of parts) {
    const sum = sums.get(name) ?? { ms: 0, count: 0 };
    sums.set(name, { ms: sum.ms + ms, count: sum.count + 1 });
  }
  return [...sums].map(([name, { ms, count }]) => ({ name, ms: rounded(ms), count })).sort((a, b) => b.ms - a.ms);
}

/** Counts and times what is asked of the device. @returns for a step */
function watchCalls(): () => { [method: string]: { readonly count: number; readonly ms: number } } {
  const counts: { [method: string]: { count: number; ms: number } } = {};
  const undo: (() => void)[] = [];
  const watch = (on: object, method: string) => {
    const methods = on as { [method: string]: (...args: unknown[]) => unknown };
    const original = methods[method]!.bind(on);
    counts[method] = { count: 0, ms: 0 };
    methods[method] = (...args) => {
      const begin = performance.now();
      const result = original(...args);
      counts[method]!.count += 1 / steps;
      counts[method]!.ms += (performance.now() - begin) / steps;
      return result;
    };
    undo.push(() => {
      methods[method] = original;
    });
  };
  for (const method of ['createBuffer', 'createBindGroup', 'createCommandEncoder']) watch(backend.device, method);
  for (const method of ['submit', 'writeBuffer']) watch(backend.queue, method);
  return () => {
    for (const stop of undo) stop();
    return Object.fromEntries(Object.entries(counts).map(([name, { count, ms }]) => [name, { count: rounded(count), ms: rounded(ms) }]));
  };
}
