/** Where checkpoints come from, and what is said of those that are not as they should be. */
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { useBackend } from '@leantune/backends';
import { floatsOf, readSafetensors, type TensorValues, writeSafetensors } from '@leantune/core/safetensors';
import * as tf from '@tensorflow/tfjs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fromPretrained, hubRepository, localFolder, type Source, webFolder } from '../src/index.ts';
import { fixtures } from './fixture.ts';

let before: number;
beforeAll(() => useBackend('cpu'));
beforeEach(() => {
  before = tf.memory().numTensors;
});
afterEach(() => expect(tf.memory().numTensors).toBe(before));

const folder = join(fixtures, 'bert-sequence');
const ids = [[5, 6, 7]];

async function predictions(source: string | Source, options = {}): Promise<number[]> {
  const model = await fromPretrained(source, options);
  const out = tf.tidy(() => [...(model.predict([tf.tensor2d(ids, [1, 3], 'int32'), tf.ones([1, 3], 'int32')]) as tf.Tensor).dataSync()]);
  model.dispose();
  return out;
}

type Tensors = { [name: string]: TensorValues };
async function tensorsOf(file: string): Promise<Tensors> {
  const found: Tensors = {};
  for await (const tensor of readSafetensors([await readFile(file)]))
    found[tensor.name] = { shape: tensor.shape, values: floatsOf(tensor) };
  return found;
}

/** A checkpoint in memory: what `change` makes of that of a fixture. */
async function changed(
  name: string,
  change: (files: { config: { [field: string]: unknown }; tensors: Tensors }) => void,
  dtype?: 'F16' | 'BF16',
): Promise<Source> {
  const files = {
    config: JSON.parse(await readFile(join(fixtures, name, 'config.json'), 'utf8')),
    tensors: await tensorsOf(join(fixtures, name, 'model.safetensors')),
  };
  change(files);
  const bytes: { [path: string]: Uint8Array } = {
    'config.json': new TextEncoder().encode(JSON.stringify(files.config)),
    'model.safetensors': writeSafetensors(files.tensors, dtype ? { dtype } : {}),
  };
  return inMemory(bytes);
}

const inMemory = (files: { [path: string]: Uint8Array }): Source => ({
  name: 'memory',
  open: async (path) =>
    files[path] && {
      size: files[path].length,
      chunks: (async function* () {
        yield files[path]!;
      })(),
    },
});

describe('a checkpoint is the same', () => {
  let server: Server;
  let address: string;
  let requests: string[] = [];
  beforeAll(async () => {
    server = createServer(async (request, response) => {
      const url = new URL(request.url!, 'http://x');
      requests.push(`${url.pathname}${url.search}`);
      // as the Hub names files: /owner/name/resolve/main/config.json
      const path = url.pathname.replace(/^\/(models|owner\/tiny\/resolve\/\w+)/, '');
      const bytes = await readFile(join(folder, path)).catch(() => undefined);
      const [, from, to] = /bytes=(\d+)-(\d*)/.exec(request.headers.range ?? '') ?? [];
      if (url.pathname.startsWith('/locked')) response.writeHead(401).end();
      else if (!bytes) response.writeHead(404, { 'x-error-code': 'EntryNotFound' }).end();
      else if (from !== undefined) {
        const part = bytes.subarray(Number(from), to ? Number(to) + 1 : undefined);
        const range = `bytes ${from}-${Number(from) + part.length - 1}/${bytes.length}`;
        response.writeHead(206, { 'content-length': part.length, 'content-range': range, etag: '"x"' }).end(part);
      } else response.writeHead(200, { 'content-length': bytes.length, etag: '"x"' }).end(request.method === 'HEAD' ? undefined : bytes);
    }).listen(0);
    await new Promise((done) => server.once('listening', done));
    address = `http://localhost:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  test('from a path, a file address, a server, and a server that wants a query', async () => {
    const expected = await predictions(folder);
    expect(await predictions(pathToFileURL(folder).href)).toEqual(expected);
    expect(await predictions(localFolder(folder))).toEqual(expected);
    expect(await predictions(`${address}/models/`)).toEqual(expected);
    requests = [];
    expect(await predictions(`${address}/models?token=a`)).toEqual(expected);
    expect(requests).toContain('/models/config.json?token=a');
  });

  test("from the browser's cache, without a second request", async () => {
    const kept = new Map<string, ArrayBuffer>();
    const store = {
      match: async (url: string) => kept.has(url) && new Response(kept.get(url)),
      put: async (url: string, response: Response) => void kept.set(url, await response.arrayBuffer()),
    };
    Object.assign(globalThis, { caches: { open: async () => store } });
    try {
      const source = webFolder(`${address}/models`, { cache: 'models' });
      const first = await predictions(source);
      requests = [];
      expect(await predictions(source)).toEqual(first);
      expect(requests.filter((url) => !url.includes('index.json'))).toEqual([]);
    } finally {
      Reflect.deleteProperty(globalThis, 'caches');
    }
  });

  test('from the Hub, through its own client', async () => {
    const fetchLocal: typeof fetch = (input, init) => fetch(String(input).replace('https://huggingface.co', address), init);
    expect(await predictions(hubRepository('owner/tiny', { fetch: fetchLocal }))).toEqual(await predictions(folder));
  });

  test('and a server that refuses says so', async () => {
    await expect(fromPretrained(`${address}/locked`)).rejects.toThrow(/got status 401 .* expected 200/);
  });

  test('in shards, of which none may lack, and in half precision', async () => {
    const tensors = Object.entries(await tensorsOf(join(folder, 'model.safetensors')));
    const [a, b] = [tensors.slice(0, 9), tensors.slice(9)].map((part) => Object.fromEntries(part)) as [Tensors, Tensors];
    const directory = await mkdtemp(join(tmpdir(), 'shards-'));
    const names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
    const map = Object.fromEntries([...Object.keys(a).map((name) => [name, names[0]]), ...Object.keys(b).map((name) => [name, names[1]])]);
    await writeFile(join(directory, 'config.json'), await readFile(join(folder, 'config.json')));
    await writeFile(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: map }));
    await writeFile(join(directory, names[0]), writeSafetensors(a));
    await expect(fromPretrained(directory)).rejects.toThrow(`has no ${names[1]}; expected the weights there`);
    await writeFile(join(directory, names[1]), writeSafetensors(b));
    const expected = await predictions(folder);
    expect(await predictions(directory)).toEqual(expected);
    for (const [dtype, digits] of [
      ['F16', 2],
      ['BF16', 1],
    ] as const) {
      const half = await predictions(await changed('bert-sequence', () => {}, dtype));
      for (const [i, value] of half.entries()) expect(value).toBeCloseTo(expected[i]!, digits);
    }
    await writeFile(join(directory, 'model.safetensors.index.json'), JSON.stringify({ weight_map: { a: '../../etc/passwd' } }));
    await expect(fromPretrained(directory)).rejects.toThrow(/has no weight_map of file names/);
  });
});

describe('what is not as it should be is said', () => {
  const refused: [what: string, fixture: string, change: Parameters<typeof changed>[1], message: RegExp, options?: object][] = [
    [
      'an unknown architecture',
      'llama',
      ({ config }) => Object.assign(config, { model_type: 'mamba' }),
      /model_type "mamba"; expected one of llama, mistral/,
    ],
    [
      'a config without its sizes',
      'llama',
      ({ config }) => ['hidden_size', 'vocab_size'].forEach((key) => delete config[key]),
      /hidden_size is missing, expected a number; .*vocab_size is missing/,
    ],
    [
      'an activation of nobody',
      'bert',
      ({ config }) => Object.assign(config, { hidden_act: 'snake' }),
      /hidden_act is "snake", expected one of gelu/,
    ],
    [
      'a scaling of positions of nobody',
      'llama',
      ({ config }) => Object.assign(config, { rope_parameters: { rope_type: 'longrope' } }),
      /rope scaling "longrope" is not one of default, linear, llama3, yarn/,
    ],
    [
      'tensors that lack, are left over or of another shape, all at once',
      'llama',
      ({ tensors }) => {
        delete tensors['model.norm.weight'];
        tensors['model.layers.7.odd'] = { shape: [1], values: new Float32Array(1) };
        tensors['lm_head.weight'] = { shape: [2, 8], values: new Float32Array(16) };
      },
      /3 tensor\(s\) do not fit: .*lm_head.weight is \[2,8\], expected \[19,8\]; model.layers.7.odd belongs to no layer of this model; model.norm.weight is missing/,
    ],
    [
      'a task that the architecture has not',
      'llama',
      () => {},
      /got task "image-classification" for "llama"; expected one of causal-lm, hidden-states/,
      { task: 'image-classification' },
    ],
    [
      'a head that is not there',
      'bert',
      () => {},
      /classifier.weight is missing.*for a new head, give task and labels/,
      { task: 'token-classification' },
    ],
    [
      'inputs that the architecture has not',
      'llama',
      () => {},
      /got inputs pixel_values; expected some of input_ids, attention_mask, with input_ids/,
      { inputs: ['pixel_values'] },
    ],
    ['no label at all', 'bert', () => {}, /got labels 0; expected a whole number above 0/, { task: 'token-classification', labels: 0 }],
  ];
  test.each(refused)('%s', async (_, fixture, change, message, options = {}) => {
    await expect(fromPretrained(await changed(fixture, change), options)).rejects.toThrow(message);
  });

  test('a folder without a checkpoint, and a string that is no source', async () => {
    await expect(fromPretrained('/nowhere')).rejects.toThrow(/\/nowhere: has no config.json; expected a checkpoint of Hugging Face/);
    await expect(fromPretrained('bert')).rejects.toThrow(/got source "bert"; expected a folder/);
    await expect(fromPretrained(inMemory({ 'config.json': new TextEncoder().encode('{') }))).rejects.toThrow(/config.json is not JSON/);
  });

  test('whole numbers where a weight belongs, by their dtype', async () => {
    const files = ['config.json', 'model.safetensors'].map(async (path) => [path, await readFile(join(fixtures, 'llama', path))] as const);
    const { 'config.json': config, 'model.safetensors': weights } = Object.fromEntries(await Promise.all(files));
    const length = Number(weights!.readBigUInt64LE());
    const header = weights!.toString('latin1', 8, 8 + length).replace('"dtype":"F32"', '"dtype":"I32"');
    weights!.write(header, 8, 'latin1');
    const source = inMemory({ 'config.json': config!, 'model.safetensors': weights! });
    await expect(fromPretrained(source)).rejects.toThrow(/1 tensor\(s\) do not fit: .* is I32, expected F32, F16 or BF16/);
  });

  test('a storage that the architecture has not', async () => {
    await expect(fromPretrained(folder, { storage: 'nf5' })).rejects.toThrow(/got storage "nf5" for "bert"; expected one of float32/);
  });

  test('tokens out of the vocabulary, and texts longer than the model', async () => {
    const model = await fromPretrained(join(fixtures, 'gpt2'));
    const run = (x: tf.Tensor) => tf.tidy(() => void model.predict(x));
    tf.tidy(() => {
      expect(() => run(tf.tensor2d([[1, 99, -1]], [1, 3], 'int32'))).toThrow(
        /got token\(s\) 99, -1; expected 0 to 18, the rows of "transformer.wte"/,
      );
      expect(() => run(tf.zeros([1, 17], 'int32'))).toThrow(/got 17 tokens; expected at most 16, the positions of "transformer.wpe"/);
    });
    model.dispose();
    const turned = await fromPretrained(join(fixtures, 'llama'));
    tf.tidy(() => {
      const long = tf.zeros([1, 65], 'int32');
      const says = /got 65 tokens; expected at most 64, the positions of "model.layers.0.self_attn"/;
      expect(() => void turned.predict(long)).toThrow(says);
    });
    turned.dispose();
  });
});

test('a new head starts at random where labels are given, and the rest is that of the checkpoint', async () => {
  const model = await fromPretrained(join(fixtures, 'bert'), { task: 'sequence-classification', labels: 5 });
  expect(model.outputs[0]!.shape).toEqual([null, 5]);
  const kernels = ['bert.pooler.dense', 'classifier'].map((name) => [...model.getLayer(name).getWeights()[0]!.dataSync()]);
  for (const kernel of kernels.slice(1)) expect(kernel.some((value) => value !== 0)).toBe(true);
  const seeded = async (seed: number) => {
    const other = await fromPretrained(join(fixtures, 'bert'), { task: 'sequence-classification', labels: 5, seed });
    const values = [...other.getLayer('classifier').getWeights()[0]!.dataSync()];
    other.dispose();
    return values;
  };
  expect(await seeded(1)).toEqual(await seeded(1));
  expect(await seeded(1)).not.toEqual(await seeded(2));
  const words = model.getLayer('bert.embeddings.word_embeddings').getWeights()[0]!.dataSync();
  const stored = await tensorsOf(join(fixtures, 'bert', 'model.safetensors'));
  expect([...words]).toEqual([...stored['embeddings.word_embeddings.weight']!.values]);
  model.dispose();
});
