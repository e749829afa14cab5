/**
 * A cell of jax-js on wasm: a transformer of jax-models.ts, trained in full under `jit`, by the same SGD.
 *
 *   tsx jax-cell.ts FOLDER '<job as JSON>'        prints one line of JSON; FOLDER is where @jax-js/jax is installed
 *
 * jax-js tells no bytes. Its buffers lie in one WebAssembly.Memory that only grows: the peak is how far that went, less weights and batch;
 * gaps between buffers count. It has no checkpoint and no adapters (its FEATURES.md), so there is one method.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { lowerQuartile } from '../../tasks/lower-quartile.ts';
import type { Figures, Job } from '../cell.ts';
import { modelOf, type Parameters, type Value } from './jax-models.ts';

const memories: WebAssembly.Memory[] = [];
const { Memory } = WebAssembly;
WebAssembly.Memory = class extends Memory {
  constructor(descriptor: WebAssembly.MemoryDescriptor) {
    super(descriptor);
    memories.push(this);
  }
};

const [folder, text] = process.argv.slice(2) as [string, string];
const { spec, batch, steps, seed } = JSON.parse(text) as Job;
const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as { version: string };
const jax = await import(pathToFileURL(join(folder, 'dist', 'index.js')).href);
await jax.init('wasm');
jax.defaultDevice('wasm');

const { tree } = jax;
const model = modelOf(jax, spec, batch, seed);
const gradients = jax.jit(jax.valueAndGrad(model.loss));
const bytes = (): number => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
const sizeOf = (p: Parameters): number => Object.values(p).reduce((sum, { size }) => sum + size, 0);

let weights = model.parameters;
const [count, times]: [number, { processor: number; passed: number }[]] = [sizeOf(weights), []];
const losses: number[] = [];
for (let i = -2; i < steps; i++) {
  const [start, before] = [performance.now(), process.cpuUsage()];
  const [loss, grads] = gradients(tree.ref(weights), ...model.batch.map((x) => x.ref));
  weights = tree.map((w: Value, g: Value) => w.sub(g.mul(1e-4)), weights, grads);
  losses.push((await loss.data())[0]);
  await jax.blockUntilReady(tree.ref(weights));
  const { user, system } = process.cpuUsage(before);
  if (i >= 0) times.push({ processor: (user + system) / 1000, passed: performance.now() - start });
}
const figures: Figures = {
  ...{ peakAboveWeights: bytes() - 4 * (count + model.batchElements), keptBytes: null, parameters: count, trained: count },
  processorMilliseconds: lowerQuartile(times.map(({ processor }) => processor)),
  milliseconds: lowerQuartile(times.map(({ passed }) => passed)),
  loss: losses[0]!,
};
console.log(JSON.stringify({ ...figures, versions: { node: process.versions.node, 'jax-js': version } }));
