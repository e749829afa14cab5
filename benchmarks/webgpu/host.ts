/**
 * What a training step costs the host: processor time, dispatches and submissions, of stock tfjs and of LeanTune, on Dawn's null adapter, which
 * takes every call and computes nothing. A GPU that is faster than this waits for the host.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/webgpu/host.ts > benchmarks/webgpu/results/host.json
 *
 * Milliseconds are processor time of the whole process, the least of some rounds of steps, in turns. The values computed are zeros.
 */
import { cpus } from 'node:os';
import { parseArgs } from 'node:util';
import type { WebGPUBackend } from '@leantune/backends/webgpu';
import * as tf from '@tensorflow/tfjs';
import { create, globals } from 'webgpu';
import type { ModelSpec } from '../models/subject.ts';
import type { Engine } from '../tasks/engines.ts';
import { type Device, watchPasses } from './count-kernels.ts';

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' }, steps: { type: 'string', default: '10' } } });
const [rounds, steps] = [Number(values.rounds), Number(values.steps)];

Object.assign(globalThis, globals);
Object.defineProperty(globalThis, 'navigator', {
  value: { gpu: create(['backend=null']), userAgent: `Node.js/${process.versions.node}` },
  configurable: true,
});
const { engines, trainingSteps, useKernels } = await import('../tasks/engines.ts'); // which takes the adapter that is there

const models: readonly { readonly title: string; readonly spec: ModelSpec }[] = [
  { title: 'MobileNetV2, width 0.5, 64 px, batch 4', spec: { name: 'mobilenet-v2', size: 64, width: 0.5, classes: 10 } },
  {
    title: 'encoder, 4 layers of 192, 64 tokens, batch 4',
    spec: { name: 'encoder', layers: 4, width: 192, heads: 6, inner: 768, vocabulary: 2000, tokens: 64, classes: 6 },
  },
];

/** Kernels recorded, by name without what follows the first space, and batches submitted, from now on. */
function countCalls() {
  const kernels = new Map<string, number>();
  const counts = { kernels, submissions: 0 };
  const { device } = tf.backend() as unknown as { device: Device & { readonly queue: { submit(buffers: unknown): void } } };
  const submit = device.queue.submit.bind(device.queue);
  device.queue.submit = (buffers) => {
    counts.submissions++;
    submit(buffers);
  };
  watchPasses(device, (pass) => {
    const setPipeline = pass.setPipeline.bind(pass);
    pass.setPipeline = (pipeline) => {
      const name = pipeline.label.split(' ')[0] || 'tfjs';
      kernels.set(name, (kernels.get(name) ?? 0) + 1);
      setPipeline(pipeline);
    };
  });
  return counts;
}

const counts = countCalls();
const results: object[] = [];
for (const { title, spec } of models) {
  const step = trainingSteps(spec, 4);
  const result: { [engine in Engine]?: { milliseconds: number; dispatches: number; submissions: number; kernels: object } } = {};
  for (let round = -1; round < rounds; round++)
    for (const engine of engines) {
      useKernels(engine);
      for (let i = 0; round < 0 && i < 3; i++) await step[engine]();
      counts.kernels.clear();
      counts.submissions = 0;
      const cpu = process.cpuUsage();
      for (let i = 0; i < steps; i++) await step[engine]();
      const { user, system } = process.cpuUsage(cpu);
      const milliseconds = Number(((user + system) / 1000 / steps).toPrecision(3));
      if (milliseconds > (result[engine]?.milliseconds ?? Number.POSITIVE_INFINITY)) continue;
      const kernels = [...counts.kernels].map(([name, n]) => [name, n / steps] as const).sort((a, b) => b[1] - a[1]);
      const dispatches = kernels.reduce((sum, [, n]) => sum + n, 0);
      result[engine] = { milliseconds, dispatches, submissions: counts.submissions / steps, kernels: Object.fromEntries(kernels) };
    }
  results.push({ title, ...result });
  console.error(JSON.stringify(results.at(-1))); // as it goes
}
const { adapterInfo } = (tf.backend() as WebGPUBackend).device as unknown as { adapterInfo: { description: string } };
const machine = { cpu: cpus()[0]?.model, cores: cpus().length };
const versions = { node: process.version, tfjs: tf.version.tfjs };
console.log(JSON.stringify({ date: new Date().toISOString(), adapter: adapterInfo.description, machine, versions, results }, null, 2));
process.exit(0);
