import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { readAdapter, writeAdapter } from '../src/adapters/adapter-file.ts';
import { canonical } from '../src/adapters/adapter-fit.ts';
import { crc32 } from '../src/adapters/checksum.ts';
import { type FileSystem, fileHandler } from '../src/adapters/file-handler.ts';
import { FinetuneError } from '../src/errors.ts';

/** Mulberry32: numbers in [0, 1) from a seed. */
function generator(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

type Files = Map<string, Uint8Array>;
const encode = (x: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(x));
const decode = (x: Uint8Array) => JSON.parse(new TextDecoder().decode(x));
const refuse = () => Promise.reject(new Error('read only'));

/** A folder in memory. */
function inMemory(files: Files): tf.io.IOHandler {
  const readFile = async (path: string): Promise<Uint8Array> => {
    const bytes = files.get(path.slice('adapter/'.length));
    if (!bytes) throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' });
    return bytes;
  };
  const fs: FileSystem = { readFile, mkdir: refuse, open: refuse, rename: refuse, rm: refuse, readdir: refuse, stat: refuse };
  return fileHandler('adapter', fs);
}

let good: Files;
let values: number[][];
beforeAll(async () => {
  const tensors = {
    'lora:head/a': tf.randomNormal([4, 3], 0, 1, 'float32', 1),
    'head/bias': tf.randomNormal([5], 0, 1, 'float32', 2),
    codes: tf.tensor1d([1, -2, 3], 'int32'),
    mask: tf.tensor1d([1, 0, 1], 'bool'),
  };
  values = await Promise.all(Object.values(tensors).map(async (t) => [...(await t.data())]));
  const header = { techniques: [{ name: 'lora', options: { rank: 3 } }], base: [{ name: 'head/kernel', shape: [4, 5], dtype: 'float32' }] };
  const save = async ({ weightSpecs, weightData, userDefinedMetadata, format }: tf.io.ModelArtifacts) => {
    const weightsManifest = [{ paths: ['weights.bin'], weights: weightSpecs }];
    good = new Map([
      ['model.json', encode({ modelTopology: {}, format, userDefinedMetadata, weightsManifest })],
      ['weights.bin', new Uint8Array(weightData as ArrayBuffer)],
    ]);
    return {} as tf.io.SaveResult;
  };
  await writeAdapter(tf.io.withSaveHandler(save), header, tensors);
  tf.dispose(tensors);
});

/** Flips, overwrites, cuts, drops or inserts bytes. */
function corrupt(bytes: Uint8Array, random: () => number): Uint8Array {
  const below = (n: number): number => Math.floor(random() * n);
  const [i, n] = [below(bytes.length), 1 + below(8)];
  const noise = Uint8Array.from({ length: n }, () => below(256));
  const copy = Uint8Array.from(bytes);
  const splice = (removed: number, added: Uint8Array | number[]): Uint8Array =>
    Uint8Array.from([...bytes.subarray(0, i), ...added, ...bytes.subarray(i + removed)]);
  switch (below(5)) {
    case 0:
      copy[i]! ^= 1 << below(8);
      return copy;
    case 1:
      copy.set(noise.subarray(0, copy.length - i), i);
      return copy;
    case 2:
      return copy.subarray(0, i);
    case 3:
      return splice(n, []);
    default:
      return splice(0, noise);
  }
}

const oddities: unknown[] = [
  null,
  -1,
  0,
  1e18,
  2 ** 53,
  0.5,
  '',
  'string',
  'float16',
  'constructor',
  '__proto__',
  [],
  {},
  [-4, -3],
  [1e9, 1e9, 1e9],
  [1e300, 1e300],
  true,
];

/** Replaces, removes or doubles one value anywhere in a JSON document. */
function mutate(json: unknown, random: () => number): unknown {
  const below = (n: number): number => Math.floor(random() * n);
  if (typeof json !== 'object' || json === null || random() < 0.15) return oddities[below(oddities.length)];
  const keys = Object.keys(json);
  if (keys.length === 0) return oddities[below(oddities.length)];
  const key = keys[below(keys.length)]!;
  const copy = structuredClone(json) as Record<string, unknown> & unknown[];
  const how = random();
  if (how < 0.1 && Array.isArray(json)) copy.push(structuredClone(copy[Number(key)]));
  else if (how < 0.2) delete copy[key];
  else copy[key] = mutate(copy[key], random);
  return copy;
}

/** Reads; true when it loaded. Fails the test on any error but ours, and on tensors left behind. */
async function survives(files: Files, what: string, check: (loaded: number[][]) => void): Promise<boolean> {
  const { numTensors, numBytes } = tf.memory();
  try {
    const { tensors, optimizer } = await readAdapter(inMemory(files));
    check(await Promise.all(Object.values(tensors).map(async (t) => [...(await t.data())])));
    tf.dispose([tensors, optimizer.map(({ tensor }) => tensor)]);
    return true;
  } catch (error) {
    if (!FinetuneError.is(error)) throw new Error(what, { cause: error });
    expect(error.code, what).toBe('bad-file');
    return false;
  } finally {
    expect({ numTensors: tf.memory().numTensors, numBytes: tf.memory().numBytes }, what).toEqual({ numTensors, numBytes });
  }
}

test('the file that is corrupted below loads when it is not', async () => {
  expect(await survives(good, 'good', (loaded) => expect(loaded).toEqual(values))).toBe(true);
});

test('4,000 corrupted files are refused, or load with every value right', async () => {
  const random = generator(2024);
  let refused = 0;
  for (let i = 0; i < 4000; i++) {
    const name = random() < 0.6 ? 'model.json' : 'weights.bin';
    const files = new Map(good).set(name, corrupt(good.get(name)!, random));
    const loaded = await survives(files, `case ${i}`, (got) => expect(got, `case ${i}`).toEqual(values));
    if (!loaded) refused++;
    if (name === 'weights.bin' && Buffer.compare(files.get(name)!, good.get(name)!) !== 0) expect(loaded, `case ${i}`).toBe(false);
  }
  expect(refused).toBeGreaterThan(3500); // some bytes of the JSON carry nothing
});

test('3,000 files with odd fields are refused, or load with every value right', async () => {
  const random = generator(7);
  for (let i = 0; i < 3000; i++) {
    const files = new Map(good).set('model.json', encode(mutate(decode(good.get('model.json')!), random)));
    await survives(files, `case ${i}: ${new TextDecoder().decode(files.get('model.json'))}`, (got) => expect(got).toEqual(values));
  }
});

test('3,000 files with odd fields and a checksum that was made to match are refused or load, and never crash', async () => {
  const random = generator(11);
  let loaded = 0;
  for (let i = 0; i < 3000; i++) {
    const json = decode(good.get('model.json')!);
    const field = random() < 0.7 ? 'weights' : 'header';
    if (field === 'weights') json.weightsManifest[0].weights = mutate(json.weightsManifest[0].weights, random);
    else json.userDefinedMetadata = mutate(json.userDefinedMetadata, random);
    const { userDefinedMetadata: header, weightsManifest } = json;
    const text = canonical([{ ...header, checksum: 0 }, weightsManifest[0].weights]);
    if (header && typeof header === 'object') header.checksum = crc32(new TextEncoder().encode(text), good.get('weights.bin')!);
    const files = new Map(good).set('model.json', encode(json));
    if (await survives(files, `case ${i}: ${JSON.stringify(json)}`, () => undefined)) loaded++;
  }
  expect(loaded).toBeGreaterThan(100); // the checksum was not what refused them
});
