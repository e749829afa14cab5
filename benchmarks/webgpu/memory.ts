/**
 * What a training step takes from the GPU: stock tfjs, on its own device with its own pool and tape, and LeanTune. Each side runs in a
 * process of its own, from equal weights, and takes three steps of SGD on every weight.
 *
 *   npx tsx --conditions=@leantune/source benchmarks/webgpu/memory.ts
 *
 * `allocated` is the most that buffers of the backend took at one time, weights, batch and idle buffers included: what the system sees.
 * `used` is the same without idle buffers. Both are read from the backend's own counters at every allocation, so they are exact.
 */
import { fork } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { useBackend } from '@leantune/backends';
import type { WebGPUBackend } from '@leantune/backends/webgpu';
import * as tf from '@tensorflow/tfjs-core';
import { type ModelSpec, makeSubject, type Subject, tidied } from '../models/subject.ts';
import { leanTrainer, selectedWeights, stockTrainer, type Trainer } from '../tasks/trainers.ts';

interface Case {
  readonly title: string;
  readonly model: ModelSpec;
  readonly batch: number;
}

interface Side {
  readonly allocated: number;
  readonly used: number;
  readonly losses: readonly number[];
}

const cases: readonly Case[] = [
  { title: 'MobileNetV2, 96 px', model: { name: 'mobilenet-v2', size: 96, width: 1, classes: 10 }, batch: 8 },
  {
    title: 'transformer block of 384, 128 tokens',
    model: { name: 'encoder', layers: 1, width: 384, heads: 12, inner: 1536, vocabulary: 1000, tokens: 128, classes: 6 },
    batch: 8,
  },
];
const STEPS = 3;

if (process.send) process.once('message', ([index, ours]: [number, boolean]) => void measureSide(cases[index] as Case, ours));
else await main();

async function main(): Promise<void> {
  const rows = [];
  let adapter = '';
  for (const [index, { title, model, batch }] of cases.entries()) {
    const [stock, leantune] = [await inChild(index, false), await inChild(index, true)];
    adapter = leantune.adapter;
    const ratio = Number((leantune.side.allocated / stock.side.allocated).toPrecision(3));
    rows.push({ title, model, batch, stock: stock.side, leantune: leantune.side, ratio });
    console.log(
      `${title}: allocated ${mb(stock.side)} -> ${mb(leantune.side)} (x${ratio}) · losses ${stock.side.losses} | ${leantune.side.losses}`,
    );
  }
  const result = {
    command: 'npx tsx --conditions=@leantune/source benchmarks/webgpu/memory.ts',
    date: new Date().toISOString(),
    adapter,
    rows,
  };
  writeFileSync(new URL('results/memory.json', import.meta.url), `${JSON.stringify(result, null, 2)}\n`);
}

function mb({ allocated, used }: Side): string {
  return `${(allocated / 1e6).toFixed(1)} MB (${(used / 1e6).toFixed(1)} used)`;
}

function inChild(index: number, ours: boolean): Promise<{ side: Side; adapter: string }> {
  return new Promise((resolve, reject) => {
    const child = fork(new URL(import.meta.url), [], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] });
    child.once('message', (message) => resolve(message as { side: Side; adapter: string }));
    child.once('exit', (code) => reject(new Error(`[memory] the process of case ${index} ended with code ${code}`)));
    child.send([index, ours]);
  });
}

async function measureSide({ model, batch }: Case, ours: boolean): Promise<void> {
  if (ours) await useBackend('webgpu');
  else await useStock();
  const backend = tf.backend() as WebGPUBackend;
  const peak = watchPeak(backend);
  const subject = makeSubject(model, batch, 17);
  const optimizer = tf.train.sgd(1e-4);
  const trainer = ours ? leanTrainer(subject, 'full') : subject.kind === 'layers' ? stockTrainer(subject, 'full') : stockLoop(subject);
  const losses: number[] = [];
  for (let i = 0; i < STEPS; i++) losses.push(await trainer.step(optimizer));
  const { adapterInfo } = backend.device as unknown as { adapterInfo: { description: string } };
  process.send?.({ side: { ...peak, losses }, adapter: adapterInfo.description }, () => process.exit());
}

/** `stockTrainer` reads the loss at once, which stock tfjs cannot in Node. */
function stockLoop(subject: Subject & { readonly kind: 'function' }): Trainer {
  const variables = selectedWeights(subject, 'full').map(({ variable }) => variable);
  return {
    async step(optimizer) {
      const loss = optimizer.minimize(() => subject.loss(tidied), true, variables) as tf.Scalar;
      const [value] = await loss.data();
      loss.dispose();
      return value as number;
    },
  };
}

/** tfjs's backend as it is, on the device that it asks for. */
async function useStock(): Promise<void> {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const gpu = create([]);
  if (globalThis.navigator) Object.defineProperty(globalThis.navigator, 'gpu', { value: gpu });
  else Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: 'Node.js' } });
  await import('@tensorflow/tfjs-backend-webgpu');
  await tf.setBackend('webgpu');
}

/** Keeps the largest of the backend's counters. */
function watchPeak({ bufferManager }: WebGPUBackend): { allocated: number; used: number } {
  const peak = { allocated: 0, used: 0 };
  const acquire = bufferManager.acquireBuffer.bind(bufferManager);
  bufferManager.acquireBuffer = (...args) => {
    const buffer = acquire(...args);
    peak.allocated = Math.max(peak.allocated, bufferManager.numBytesAllocated);
    peak.used = Math.max(peak.used, bufferManager.numBytesUsed);
    return buffer;
  };
  return peak;
}
