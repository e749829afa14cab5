/**
 * Times stock tfjs and LeanTune on one WebGPU adapter, side by side in one process: training steps with Adam, and products of matrices.
 * What each side is: benchmarks/tasks/engines.ts.
 *
 *   npx tsx --conditions=@leantune/source packages/backends/bench/webgpu.ts > benchmarks/webgpu/results/lavapipe.json
 *
 * A time is the least of interleaved runs: in milliseconds, and in CPU seconds of the process, which for an adapter that runs on the CPU is
 * the work done, whatever else the machine does.
 */

import { cpus } from 'node:os';
import * as tf from '@tensorflow/tfjs';
import { type Engine, engines, type Of, trainingSteps, useKernels } from '../../../benchmarks/tasks/engines.ts';
import type { WebGPUBackend } from '../src/webgpu/index.ts';

interface Times {
  milliseconds: number;
  cpuSeconds: number;
}
/** Least of `runs`, in turns, after one in which shaders are compiled. */
async function compare(f: Of<() => Promise<unknown>>, runs: number) {
  const best: { [engine in Engine]: Times } = {
    stock: { milliseconds: Number.POSITIVE_INFINITY, cpuSeconds: Number.POSITIVE_INFINITY },
    leantune: { milliseconds: Number.POSITIVE_INFINITY, cpuSeconds: Number.POSITIVE_INFINITY },
  };
  for (let i = -1; i < runs; i++)
    for (const engine of engines) {
      useKernels(engine);
      const [start, cpu] = [performance.now(), process.cpuUsage()];
      await f[engine]();
      const [milliseconds, { user, system }] = [performance.now() - start, process.cpuUsage(cpu)];
      if (i < 0) continue;
      best[engine].milliseconds = Math.min(best[engine].milliseconds, Math.round(milliseconds));
      best[engine].cpuSeconds = Math.min(best[engine].cpuSeconds, Number(((user + system) / 1e6).toPrecision(3)));
    }
  const ratio = (key: keyof Times): number => Number((best.stock[key] / best.leantune[key]).toPrecision(3));
  return { ...best, timesAsFast: { milliseconds: ratio('milliseconds'), cpuSeconds: ratio('cpuSeconds') } };
}

const models = [
  { title: 'MobileNetV2, width 0.5, 64 px, batch 4', batch: 4, spec: { name: 'mobilenet-v2', size: 64, width: 0.5, classes: 10 } },
  { title: 'ResNet-50, width 0.5, 64 px, batch 2', batch: 2, spec: { name: 'resnet-50', size: 64, width: 0.5, classes: 10 } },
  {
    title: 'transformer block of 256, 64 tokens, batch 4',
    batch: 4,
    spec: { name: 'encoder', layers: 1, width: 256, heads: 4, inner: 1024, vocabulary: 2000, tokens: 64, classes: 6 },
  },
] as const;

async function trainingStep({ title, spec, batch }: (typeof models)[number]) {
  const steps = trainingSteps(spec, batch);
  const losses: { [engine in Engine]: number[] } = { stock: [], leantune: [] };
  const noted = (engine: Engine) => async () => void losses[engine].push(await steps[engine]());
  const times = await compare({ stock: noted('stock'), leantune: noted('leantune') }, 5);
  return { title, ...times, losses };
}

async function product(transposeA: boolean, transposeB: boolean) {
  const [a, b] = [tf.randomNormal([512, 512], 0, 1, 'float32', 1), tf.randomNormal([512, 512], 0, 1, 'float32', 2)];
  const run = async (): Promise<void> => {
    const y = tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D, transposeA, transposeB);
    await y.data();
    y.dispose();
  };
  const times = await compare({ stock: run, leantune: run }, 4);
  tf.dispose([a, b]);
  return { title: `matMul ${transposeA ? 'T' : 'N'}${transposeB ? 'T' : 'N'} 512`, ...times };
}

const { adapterInfo } = (tf.backend() as WebGPUBackend).device as unknown as { adapterInfo: { description: string } };
const results: object[] = [];
const done = (result: object): void => {
  results.push(result);
  console.error(JSON.stringify(result)); // as it goes
};
for (const [a, b] of [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const)
  done(await product(a, b));
for (const model of models) done(await trainingStep(model));
const machine = { cpu: cpus()[0]?.model, cores: cpus().length };
const versions = { node: process.version, tfjs: tf.version.tfjs };
console.log(JSON.stringify({ date: new Date().toISOString(), adapter: adapterInfo.description, machine, versions, results }, null, 2));
process.exit(0);
