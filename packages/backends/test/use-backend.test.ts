import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { importPackage } from '../src/import-package.ts';
import { BackendError, useBackend } from '../src/index.ts';
import { heapUse, registerWasmKernels } from '../src/wasm/index.ts';

const MB = 2 ** 20;

async function codeOf(f: () => unknown): Promise<string> {
  try {
    await f();
  } catch (error) {
    if (error instanceof BackendError) return error.code;
    throw error;
  }
  return 'no error';
}

describe('useBackend', () => {
  it('finds and sets wasm by name, however often it is called', async () => {
    expect(await useBackend('wasm')).toEqual({ name: 'wasm', why: 'asked for by name', passed: [] });
    const kernel = tf.getKernel('BatchMatMul', 'wasm').kernelFunc;
    await useBackend('wasm');
    await registerWasmKernels();
    expect(tf.getBackend()).toBe('wasm');
    expect(tf.getKernel('BatchMatMul', 'wasm').kernelFunc).toBe(kernel);
  });

  it('takes calls made at once in turn, so that the last one wins', async () => {
    const refused = useBackend('gpu' as 'cpu');
    const chosen = Promise.all([useBackend('wasm'), useBackend('cpu'), useBackend('wasm'), useBackend('cpu')]);
    await expect(refused).rejects.toThrow('got "gpu"');
    expect((await chosen).map(({ name }) => name)).toEqual(['wasm', 'cpu', 'wasm', 'cpu']);
    expect(tf.getBackend()).toBe('cpu');
    await useBackend('wasm');
    expect(heapUse(tf.backend()).limit).toBeGreaterThan(0);
  });

  it('picks wasm by itself where nothing faster is installed, and says why', async () => {
    const { name, why, passed } = await useBackend('auto', { maxBytes: 2 ** 30 });
    expect(name).toBe(tf.getBackend());
    expect(why).not.toBe('');
    const order = ['tensorflow', 'webgpu', 'wasm'];
    expect(passed.map((other) => other.name)).toEqual(order.slice(0, order.indexOf(name)));
    for (const other of passed)
      expect({ ...other }).toEqual({ name: other.name, why: expect.stringMatching(/\S/), fix: expect.stringMatching(/\S/) });
  });

  it('sets cpu with the right gradient of average pooling', async () => {
    await useBackend('cpu');
    const dx = tf.tidy(
      () => tf.sum(tf.grad((x: tf.Tensor) => tf.avgPool(x as tf.Tensor4D, 3, 2, 'same'))(tf.ones([1, 4, 4, 1]))).dataSync()[0],
    );
    expect(dx).toBeCloseTo(4, 6);
    await useBackend('wasm');
  });

  it('refuses unknown names and options of another backend', async () => {
    expect(await codeOf(() => useBackend('gpu' as 'cpu'))).toBe('bad-option');
    expect(await codeOf(() => useBackend('cpu', { maxBytes: 1 }))).toBe('bad-option');
    await expect(useBackend('auto', { maxByte: 1 } as object)).rejects.toThrow('got maxByte with "auto"; expected options that one of its');
    expect(await codeOf(() => useBackend('wasm', { maxBytes: -1 }))).toBe('bad-option');
  });

  it('names the package to install for a backend that is missing', async () => {
    const error = await importPackage('webgl', ['@tensorflow/tfjs-absent']).catch((thrown: BackendError) => thrown);
    expect(error).toMatchObject({ code: 'not-installed', fix: 'Run: npm install @tensorflow/tfjs-absent@^4.22' });
    expect((error as Error).message).toBe(
      '[useBackend] "webgl" needs the package @tensorflow/tfjs-absent. Run: npm install @tensorflow/tfjs-absent@^4.22',
    );
  });
});

describe('the heap guard', () => {
  beforeAll(() => useBackend('wasm').then(() => undefined));

  it('counts what tensors hold', () => {
    const { used } = heapUse(tf.backend());
    const x = tf.zeros([MB / 4]);
    expect(heapUse(tf.backend()).used).toBe(used + MB);
    const view = tf.clone(x);
    expect(heapUse(tf.backend()).used).toBe(used + MB);
    x.dispose();
    view.dispose();
    expect(heapUse(tf.backend()).used).toBe(used);
  });

  it('throws before the limit is passed, and the engine goes on', async () => {
    const x = tf.ones([1024, 256]);
    const before = { tensors: tf.memory().numTensors, ids: tf.backend().numDataIds(), ...heapUse(tf.backend()) };
    await useBackend('wasm', { maxBytes: before.used + 3 * MB });
    const grow = () => tf.tidy(() => [tf.add(x, 1), tf.add(x, 2), tf.add(x, 3), tf.add(x, 4)].map(tf.keep));
    expect(await codeOf(grow)).toBe('out-of-memory');
    expect(() => tf.zeros([8 * MB])).toThrow(/asks for 32\.0 MiB; .* in use\. Use a smaller batch/);
    expect(heapUse(tf.backend()).used).toBe(before.used);
    expect(tf.memory().numTensors).toBe(before.tensors);
    expect(tf.backend().numDataIds()).toBe(before.ids);
    expect(tf.tidy(() => tf.sum(tf.add(x, 1)).dataSync()[0])).toBe(2 * 1024 * 256);
    await useBackend('wasm');
    expect(heapUse(tf.backend()).limit).toBe(before.limit);
    expect(tf.tidy(() => tf.add(x, tf.zeros([4, 1024, 256])).shape)).toEqual([4, 1024, 256]);
    x.dispose();
  });

  it('refuses a tensor larger than the heap, whose size malloc would read modulo 4 GiB', () => {
    expect(() => tf.backend().write(null as unknown as Float32Array, [2 ** 30 + 16], 'float32')).toThrow(
      '[wasm] a tensor asks for 4096.0 MiB',
    );
  });
});
