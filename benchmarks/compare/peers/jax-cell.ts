/**
 * A cell of jax-js on wasm: the encoder of models/encoder.ts, trained in full under `jit`, by the same SGD.
 *
 *   tsx jax-cell.ts FOLDER '<job as JSON>'        prints one line of JSON; FOLDER is where @jax-js/jax is installed
 *
 * jax-js tells no bytes. Its buffers lie in one WebAssembly.Memory that only grows: the peak is how far that went, less weights and batch;
 * gaps between buffers count. It has no checkpoint and no adapters (its FEATURES.md), so there is one method, and one model is written here.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { generator, integers, oneHotRows } from '../../models/random.ts';
import { lowerQuartile } from '../../tasks/lower-quartile.ts';
import type { Figures, Job } from '../cell.ts';

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
const { numpy: np, nn, random, tree } = jax;
type Array = any; // its types are not installed beside these sources
type Parameters = { [name: string]: Array };

if (spec.name !== 'encoder') throw new Error(`NotWritten: ${spec.name} is not written for jax-js; its package has no models`);
const { layers, width, heads, inner, vocabulary, tokens, classes } = spec;
await jax.init('wasm');
jax.defaultDevice('wasm');

/** What an op takes it frees; `ref` keeps it for another. */
const linear = (p: Parameters, name: string, x: Array): Array => np.matmul(x, p[`${name}.weight`].ref).add(p[`${name}.bias`].ref);

function norm(p: Parameters, name: string, x: Array): Array {
  const centered = x.ref.sub(np.mean(x, -1, { keepdims: true }));
  const scale = np.sqrt(np.mean(np.square(centered.ref), -1, { keepdims: true }).add(1e-12));
  return centered.div(scale).mul(p[`${name}.weight`].ref).add(p[`${name}.bias`].ref);
}

const split = (x: Array): Array => x.reshape([batch, tokens, heads, width / heads]).transpose([0, 2, 1, 3]);

function layer(p: Parameters, name: string, x: Array): Array {
  const [query, key, value] = ['q', 'k', 'v'].map((part) => split(linear(p, `${name}.${part}`, x.ref)));
  const scores = np.matmul(query, key.transpose([0, 1, 3, 2])).mul(1 / Math.sqrt(width / heads)); // [batch, heads, tokens, tokens]
  const mixed = np.matmul(nn.softmax(scores, -1), value).transpose([0, 2, 1, 3]).reshape([batch, tokens, width]);
  const y = norm(p, `${name}.norm1`, x.add(linear(p, `${name}.o`, mixed)));
  const hidden = nn.gelu(linear(p, `${name}.up`, y.ref), { approximate: false }); // [batch, tokens, inner]
  return norm(p, `${name}.norm2`, y.add(linear(p, `${name}.down`, hidden)));
}

/** Mean cross-entropy of ids [batch, tokens] against one-hot labels [batch, classes]. */
function lossOf(p: Parameters, ids: Array, labels: Array): Array {
  let x = norm(p, 'norm', np.take(p['words'].ref, ids, 0).add(p['positions'].ref));
  for (let i = 0; i < layers; i++) x = layer(p, `${i}`, x);
  const logits = linear(p, 'classifier', np.mean(x, 1));
  const loss = np.mean(np.sum(nn.logSoftmax(logits, -1).mul(labels), -1)).mul(-1);
  tree.dispose(p);
  return loss;
}

function parameters(): Parameters {
  const p: Parameters = {};
  const matrix = (name: string, shape: number[]): void => {
    p[name] = random.normal(random.key(1000 * seed + Object.keys(p).length), shape).mul(0.02);
  };
  const dense = (name: string, dIn: number, dOut: number): void => {
    matrix(`${name}.weight`, [dIn, dOut]);
    p[`${name}.bias`] = np.zeros([dOut]);
  };
  const normed = (name: string): void =>
    void Object.assign(p, { [`${name}.weight`]: np.ones([width]), [`${name}.bias`]: np.zeros([width]) });
  matrix('words', [vocabulary, width]);
  matrix('positions', [tokens, width]);
  normed('norm');
  for (let i = 0; i < layers; i++) {
    for (const part of ['q', 'k', 'v', 'o']) dense(`${i}.${part}`, width, width);
    dense(`${i}.up`, width, inner);
    dense(`${i}.down`, inner, width);
    for (const which of ['norm1', 'norm2']) normed(`${i}.${which}`);
  }
  dense('classifier', width, classes);
  return p;
}

const gradients = jax.jit(jax.valueAndGrad(lossOf));
const bytes = (): number => memories.reduce((sum, { buffer }) => sum + buffer.byteLength, 0);
const sizeOf = (p: Parameters): number => Object.values(p).reduce((sum, { size }) => sum + size, 0);

let weights = parameters();
const next = generator(seed);
const ids = np.array(integers(batch * tokens, vocabulary, next), { dtype: np.int32 }).reshape([batch, tokens]);
const labels = np.array(oneHotRows(batch, classes, next)).reshape([batch, classes]);
const [count, times]: [number, { processor: number; passed: number }[]] = [sizeOf(weights), []];
const losses: number[] = [];
for (let i = -2; i < steps; i++) {
  const [start, before] = [performance.now(), process.cpuUsage()];
  const [loss, grads] = gradients(tree.ref(weights), ids.ref, labels.ref);
  weights = tree.map((w: Array, g: Array) => w.sub(g.mul(1e-4)), weights, grads);
  losses.push((await loss.data())[0]);
  await jax.blockUntilReady(tree.ref(weights));
  const { user, system } = process.cpuUsage(before);
  if (i >= 0) times.push({ processor: (user + system) / 1000, passed: performance.now() - start });
}
const figures: Figures = {
  ...{ peakAboveWeights: bytes() - 4 * (count + batch * (tokens + classes)), keptBytes: null, parameters: count, trained: count },
  processorMilliseconds: lowerQuartile(times.map(({ processor }) => processor)),
  milliseconds: lowerQuartile(times.map(({ passed }) => passed)),
  loss: losses[0]!,
};
console.log(JSON.stringify({ ...figures, versions: { node: process.versions.node, 'jax-js': version } }));
