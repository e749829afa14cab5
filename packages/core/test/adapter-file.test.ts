import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type Adapter, readAdapter, restoreOptimizer, writeAdapter } from '../src/adapters/adapter-file.ts';
import { type AdapterHeader, checkAdapter } from '../src/adapters/adapter-fit.ts';
import { FinetuneError } from '../src/errors.ts';
import { adamW } from '../src/optimizers/adamw.ts';

const contents = {
  techniques: [{ name: 'lamda', options: { rank: 4, targets: ['head'] } }],
  base: [{ name: 'head/kernel', shape: [3, 2], dtype: 'float32' }],
  trained: ['head/bias'],
};

let folder: string;
let before: number;
let tensors: tf.NamedTensorMap;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'adapter-'));
  before = tf.memory().numTensors;
  tensors = {
    'lamda:head/square': tf.randomNormal([4, 4], 0, 1, 'float32', 1),
    flags: tf.tensor1d([1, 0, 1], 'bool'),
    'head/bias': tf.tensor1d([0.5, -0]),
    counts: tf.tensor2d([[1, -2]], [1, 2], 'int32'),
    empty: tf.zeros([0, 3]),
    rate: tf.scalar(Math.PI),
  };
});
afterEach(async () => {
  tf.dispose(tensors);
  expect(tf.memory().numTensors).toBe(before);
  await rm(folder, { recursive: true });
});

const dispose = (adapter: Adapter): void => tf.dispose([adapter.tensors, adapter.optimizer.map(({ tensor }) => tensor)]);

async function expectEqual(adapter: Adapter): Promise<void> {
  expect(adapter.header).toMatchObject({ format: '@leantune/adapter', version: 1, ...contents });
  expect(Object.keys(adapter.tensors)).toEqual(Object.keys(tensors));
  for (const [name, tensor] of Object.entries(tensors)) {
    const got = adapter.tensors[name]!;
    expect([name, got.shape, got.dtype]).toEqual([name, tensor.shape, tensor.dtype]);
    expect(await got.data()).toEqual(await tensor.data()); // -0 is not 0 here
  }
}

async function roundTrip(to: string | tf.io.IOHandler, from: string | tf.io.IOHandler = to): Promise<void> {
  await writeAdapter(to, contents, tensors);
  const adapter = await readAdapter(from);
  await expectEqual(adapter);
  expect(adapter.optimizer).toEqual([]);
  dispose(adapter);
}

function memoryHandler(copy: (artifacts: tf.io.ModelArtifacts) => tf.io.ModelArtifacts = structuredClone) {
  let stored: tf.io.ModelArtifacts;
  return {
    save: async (artifacts: tf.io.ModelArtifacts) => {
      stored = copy(artifacts);
      return { modelArtifactsInfo: tf.io.getModelArtifactsInfoForJSON(artifacts) };
    },
    load: async () => stored,
  };
}

describe('an adapter comes back as it was saved', () => {
  test('through file:// in Node, from the folder or its model.json', async () => {
    await roundTrip(`file://${folder}/new/adapter`);
    await roundTrip(`file://${folder}/new/adapter/`, `file://${folder}/new/adapter/model.json`);
  });

  test('also without tensors', async () => {
    tf.dispose(tensors);
    tensors = {};
    await roundTrip(`file://${folder}`);
  });

  test('through a handler that clones, as indexeddb does', async () => {
    await roundTrip(memoryHandler());
  });

  test('through a handler that reorders keys and hands out shards as views into a larger buffer', async () => {
    const reverse = (x: unknown): unknown =>
      x && typeof x === 'object' && !Array.isArray(x)
        ? Object.fromEntries(
            Object.entries(x)
              .reverse()
              .map(([k, v]) => [k, reverse(v)]),
          )
        : x;
    await roundTrip(
      memoryHandler((artifacts) => {
        const bytes = new Uint8Array(artifacts.weightData as ArrayBuffer);
        const pool = new Uint8Array(bytes.length + 7);
        pool.set(bytes, 3);
        const shards = [pool.subarray(3, 8), pool.subarray(8, 8), pool.subarray(8, 3 + bytes.length)];
        return { ...(reverse(artifacts) as tf.io.ModelArtifacts), weightData: shards as unknown as ArrayBuffer[] };
      }),
    );
  });

  test('through http://', async () => {
    const files = new Map<string, Buffer>();
    const server = createServer(async (request, response) => {
      if (request.method === 'GET') return void response.end(files.get(request.url!.slice(1)));
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const form = await new Response(Buffer.concat(chunks), { headers: { 'content-type': request.headers['content-type']! } }).formData();
      for (const name of ['model.json', 'model.weights.bin']) files.set(name, Buffer.from(await (form.get(name) as File).arrayBuffer()));
      response.end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      await writeAdapter(`${url}/upload`, contents, tensors);
      files.set('./model.weights.bin', files.get('model.weights.bin')!);
      const adapter = await readAdapter(`${url}/model.json`);
      await expectEqual(adapter);
      dispose(adapter);
    } finally {
      server.close();
    }
  });

  describe('in a browser', () => {
    let quota: number;
    beforeEach(() => {
      const items = new Map<string, string>();
      quota = Infinity;
      const localStorage = {
        getItem: (key: string) => items.get(key) ?? null,
        removeItem: (key: string) => void items.delete(key),
        setItem: (key: string, value: string) => {
          if (value.length > quota) throw new Error('QuotaExceededError');
          items.set(key, `${value}`);
        },
      };
      vi.stubGlobal('window', { localStorage });
      tf.env().set('IS_BROWSER', true);
    });
    afterEach(() => {
      vi.unstubAllGlobals();
      tf.env().set('IS_BROWSER', false);
    });

    test('through localstorage://', async () => {
      await roundTrip('localstorage://mine');
    });

    test('and a save to localstorage:// beyond the quota leaves the old one', async () => {
      await writeAdapter('localstorage://mine', contents, tensors);
      const large = tf.zeros([2000]);
      quota = 4000;
      await expect(writeAdapter('localstorage://mine', contents, { large })).rejects.toThrow(
        '[save] "localstorage://mine" could not be written',
      );
      large.dispose();
      const adapter = await readAdapter('localstorage://mine');
      await expectEqual(adapter);
      dispose(adapter);
    });

    test('through files that a person picks', async () => {
      class FakeReader {
        onload: (event: object) => void = () => undefined;
        readAsText = (file: File) => void file.text().then((result) => this.onload({ target: { result } }));
        readAsArrayBuffer = (file: File) => void file.arrayBuffer().then((result) => this.onload({ target: { result } }));
      }
      vi.stubGlobal('FileReader', FakeReader);
      await writeAdapter(`file://${folder}`, contents, tensors);
      const json = await readFile(join(folder, 'model.json'), 'utf8');
      const name: string = JSON.parse(json).weightsManifest[0].paths[0];
      const files = [new File([json], 'model.json'), new File([await readFile(join(folder, name))], name)];
      const adapter = await readAdapter(tf.io.browserFiles(files));
      await expectEqual(adapter);
      dispose(adapter);
    });
  });
});

describe('training state', () => {
  const optimizers: [string, () => tf.Optimizer][] = [
    ['AdamW', () => adamW({ learningRate: 0.1 })],
    ['Adam', () => tf.train.adam(0.1)],
    ['RMSProp', () => tf.train.rmsprop(0.1, 0.9, 0.5, 1e-7, true)],
    ['Momentum', () => tf.train.momentum(0.1, 0.9)],
    ['Adagrad', () => tf.train.adagrad(0.1)],
    ['Adadelta', () => tf.train.adadelta(0.1, 0.9)],
    ['SGD', () => tf.train.sgd(0.1)],
  ];

  test.each(optimizers)('of %s goes on where it was saved', async (name, make) => {
    const run = (optimizer: tf.Optimizer, w: tf.Variable, steps: number): void => {
      for (let i = 0; i < steps; i++) optimizer.minimize(() => tf.sum(tf.square(w)) as tf.Scalar, false, [w]);
    };
    const start = (): tf.Variable => tf.tidy(() => tf.variable(tf.tensor1d([1, -2, 3])));
    const [whole, part, other] = [start(), start(), start()];
    const [a, b, c] = [make(), make(), make()];
    run(a, whole, 6);
    run(b, part, 3);
    run(c, other, 2); // whose state is replaced
    const handles = tf.memory().numTensors;
    await writeAdapter(`file://${folder}`, contents, { part }, b);
    const adapter = await readAdapter(`file://${folder}`);
    expect(adapter.header.optimizer).toEqual({ className: name, config: JSON.parse(JSON.stringify(b.getConfig())), iterations: 3 });
    await restoreOptimizer(c, adapter);
    tf.dispose(adapter.tensors);
    expect(tf.memory().numTensors).toBe(handles);
    run(c, part, 3);
    const error = tf.tidy(() => tf.max(tf.abs(tf.sub(whole, part))).dataSync()[0]!);
    expect(error).toBeLessThanOrEqual(name === 'Adam' ? 1e-6 : 0); // tfjs's Adam restores its corrections by pow in float32
    expect(c.iterations).toBe(6);
    tf.dispose([whole, part, other]);
    for (const optimizer of [a, b, c]) {
      tf.dispose((optimizer as { c?: tf.Tensor }).c ?? []); // tfjs's Momentum leaves its rate behind
      if (name !== 'SGD') optimizer.dispose();
    }
  });

  test('of another optimizer, or none, is an error and changes nothing', async () => {
    const [sgd, adam] = [tf.train.sgd(0.1), adamW()];
    await writeAdapter(`file://${folder}`, contents, tensors, sgd);
    const adapter = await readAdapter(`file://${folder}`);
    await expect(restoreOptimizer(adam, adapter)).rejects.toThrow('[load] the file holds the state of SGD; expected AdamW');
    await expect(restoreOptimizer(adam, { ...adapter, header: contents as unknown as AdapterHeader })).rejects.toThrow(
      'the state of no optimizer; expected AdamW',
    );
    dispose(adapter);
    sgd.dispose();
  });

  test('that tfjs cannot give out is an error', async () => {
    const adamax = tf.train.adamax(0.1);
    await expect(writeAdapter(memoryHandler(), contents, tensors, adamax)).rejects.toThrow('getWeights() is not implemented for Adamax');
    adamax.dispose();
  });
});

describe('what cannot be saved or read is an error', () => {
  const failure = async (promise: Promise<unknown>): Promise<FinetuneError> => {
    const error: unknown = await promise.then(
      () => undefined,
      (e: unknown) => e,
    );
    expect(FinetuneError.is(error)).toBe(true);
    return error as FinetuneError;
  };

  test('NaN and Inf are not written over a good file', async () => {
    await writeAdapter(`file://${folder}`, contents, tensors);
    const broken = { ...tensors, a: tf.tensor1d([Number.NaN]), b: tf.tensor1d([1, -Infinity]) };
    const error = await failure(writeAdapter(`file://${folder}`, contents, broken));
    expect([error.code, error.message]).toEqual(['not-finite', '[save] NaN or Inf in a, b. Nothing was written.']);
    tf.dispose([broken.a, broken.b]);
    const adapter = await readAdapter(`file://${folder}`);
    await expectEqual(adapter);
    dispose(adapter);
  });

  test('a folder that holds a model is not overwritten', async () => {
    const model = JSON.stringify({ format: 'layers-model', modelTopology: {} });
    await writeFile(join(folder, 'model.json'), model);
    const error = await failure(writeAdapter(`file://${folder}`, contents, tensors));
    expect(error.message.replace(folder, 'F')).toMatchInlineSnapshot(
      `"[save] F/model.json is no adapter: its format is "layers-model". Save to another folder."`,
    );
    expect(await readFile(join(folder, 'model.json'), 'utf8')).toBe(model);
  });

  test('places that no handler serves are named', async () => {
    expect((await failure(writeAdapter('adapter', contents, tensors))).message).toMatchInlineSnapshot(
      `"[save] "adapter" cannot save here; expected file:// (Node), indexeddb:// (browser), http:// or a tf.io handler that can."`,
    );
    expect((await failure(readAdapter('indexeddb://adapter'))).message).toContain('"indexeddb://adapter" cannot load here');
    expect((await failure(readAdapter(tf.io.withSaveHandler(async () => ({}) as tf.io.SaveResult)))).message).toContain(
      'the IO handler cannot load here',
    );
    expect((await failure(writeAdapter(tf.io.fromMemory({}), contents, tensors))).message).toContain('the IO handler cannot save here');
  });

  test('the error of a handler is the cause', async () => {
    const cause = new Error('disk full');
    const handler = { save: () => Promise.reject(cause), load: () => Promise.reject(cause) };
    expect(await failure(writeAdapter(handler, contents, tensors))).toMatchObject({
      code: 'bad-file',
      cause,
      message: '[save] the IO handler could not be written: disk full',
    });
    expect(await failure(readAdapter(handler))).toMatchObject({
      code: 'bad-file',
      cause,
      message: '[load] the IO handler could not be read: disk full',
    });
    expect((await failure(readAdapter(`file://${folder}/none`))).message).toContain('ENOENT');
  });

  test('truncated weights, other versions, other formats and altered headers are told apart', async () => {
    const handler = memoryHandler();
    await writeAdapter(handler, contents, tensors);
    const stored = await handler.load();
    const header = stored.userDefinedMetadata as unknown as AdapterHeader;
    const read = async (change: Partial<Record<keyof tf.io.ModelArtifacts, unknown>>) =>
      (await failure(readAdapter({ load: async () => ({ ...stored, ...change }) as tf.io.ModelArtifacts }))).message;
    expect(await read({ weightData: (stored.weightData as ArrayBuffer).slice(4) })).toMatchInlineSnapshot(
      `"[load] the IO handler has 83 bytes of weights; expected 87. Save or copy it again."`,
    );
    expect(await read({ weightData: undefined })).toContain('has 0 bytes of weights');
    const specs = (shape: number[], dtype: string) => ({ weightSpecs: [{ name: 'a', shape, dtype }] });
    expect(await read(specs([2 ** 40], 'float32'))).toContain('has 87 bytes of weights; expected 4398046511104');
    expect(await read(specs([2 ** 40], 'string'))).toContain('has 87 bytes of weights; expected NaN');
    expect(await read({ userDefinedMetadata: undefined })).toMatchInlineSnapshot(
      `"[load] the IO handler holds no adapter; expected one that tuned.save() wrote."`,
    );
    expect(await read({ userDefinedMetadata: { ...header, version: 2 } })).toMatchInlineSnapshot(
      `"[load] the IO handler has version 2; expected 1. Read it with the release that wrote it."`,
    );
    expect(await read({ userDefinedMetadata: { ...header, techniques: [] } })).toContain('was altered: checksum');
    const flipped = new Uint8Array((stored.weightData as ArrayBuffer).slice(0));
    flipped[5]! ^= 16;
    expect(await read({ weightData: flipped.buffer })).toContain(`expected ${header.checksum}. Save or copy it again.`);
  });
});

describe('checkAdapter', () => {
  const spec = (name: string, shape: number[], dtype = 'float32') => ({ name, shape, dtype });
  const header = (techniques: AdapterHeader['techniques'], base: AdapterHeader['base']) => ({ techniques, base }) as AdapterHeader;

  test('accepts what fits, in any order and whatever the order of option keys', () => {
    const base = [spec('a', [1]), spec('b', [2, 3])];
    const variables = Object.entries(tensors).map(([name, { shape, dtype }]) => ({ name, shape, dtype }));
    const technique = (options: object) => [{ name: 'lora', options: options as never }];
    checkAdapter(header(technique({ x: 1, y: { z: [2], w: 3 } }), base), tensors, {
      techniques: technique({ y: { w: 3, z: [2] }, x: 1 }),
      base: [...base].reverse(),
      variables: variables.reverse(),
    });
  });

  test('lists everything that does not fit at once', () => {
    const many = Array.from({ length: 12 }, (_, i) => spec(`layer${i}/kernel`, [i, 4]));
    const given = { x: tf.zeros([2]), y: tf.zeros([3, 4]), z: tf.zeros([1], 'int32'), extra: tf.scalar(0) };
    let message = '';
    try {
      checkAdapter(header([{ name: 'lamda', options: { rank: 4 } }], [...many, spec('head/kernel', [4, 10])]), given, {
        techniques: [
          { name: 'lamda', options: { rank: 8 } },
          { name: 'fourBit', options: null },
        ],
        base: [spec('head/kernel', [4, 7]), spec('layer0/kernel', [0, 4]), spec('new/kernel', [])],
        variables: [spec('x', [2]), spec('y', [4, 3]), spec('z', [1]), spec('gone', [5, 5])],
      });
    } catch (error) {
      expect(FinetuneError.is(error) && error.code).toBe('bad-file');
      message = (error as Error).message;
    }
    expect(message).toMatchInlineSnapshot(`
      "[load] the adapter does not fit this model:
      - techniques lamda({"rank":4}) (expected lamda({"rank":8}), fourBit(null))
      - 1 missing weights of the base: "new/kernel" [] float32
      - 11 unexpected weights of the base: "layer1/kernel" [1,4] float32, "layer2/kernel" [2,4] float32, "layer3/kernel" [3,4] float32, "layer4/kernel" [4,4] float32, "layer5/kernel" [5,4] float32 and 6 more
      - 1 misshapen weights of the base: "head/kernel" [4,10] float32 (expected "head/kernel" [4,7] float32)
      - 1 missing tensors: "gone" [5,5] float32
      - 1 unexpected tensors: "extra" [] float32
      - 2 misshapen tensors: "y" [3,4] float32 (expected "y" [4,3] float32), "z" [1] int32 (expected "z" [1] float32)
      Load it on the base it was trained on, with the techniques it was trained with."
    `);
    tf.dispose(given);
  });
});
