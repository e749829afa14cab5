/** The pool of GPU buffers: bytes are exact, and results are those of tfjs's own pool. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { type BackendError, useBackend } from '../../src/index.ts';
import { poolUse, trimPool, type WebGPUBackend } from '../../src/webgpu/index.ts';

const MiB = 2 ** 20;

function caught(f: () => unknown): BackendError | undefined {
  try {
    f();
    return undefined;
  } catch (error) {
    return error as BackendError;
  }
}

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test('a chain of kernels holds two buffers, not one for each kernel of the batch', async () => {
    trimPool(tf.backend());
    const x = tf.ones([MiB]);
    const before = poolUse(tf.backend(), { resetPeak: true }).allocated;
    const y = tf.tidy(() => {
      let y = tf.add(x, 1);
      for (let i = 1; i < 60; i++) {
        const next = tf.add(y, 1);
        y.dispose();
        y = next;
      }
      return y;
    });
    expect((await y.data()).every((value) => value === 61)).toBe(true);
    const { peak } = poolUse(tf.backend());
    expect(peak - before).toBeLessThanOrEqual(4 * 4 * MiB + 4096); // x, two of the chain, one to read back; uniforms
    tf.dispose([x, y]);
  });

  test('tensors of many sizes leave little behind', async () => {
    trimPool(tf.backend());
    for (let i = 1; i <= 200; i++) tf.tidy(() => void tf.add(tf.ones([i, 1000]), tf.ones([i, 1000])));
    const { used, allocated } = poolUse(tf.backend());
    expect(allocated - used).toBeLessThanOrEqual(16 * MiB + 3 * 200 * 1000 * 4); // the slack, and the last sum
    trimPool(tf.backend());
    expect(poolUse(tf.backend()).allocated).toBe(poolUse(tf.backend()).used);
    const y = tf.add(tf.ones([3]), 1);
    expect([...(await y.data())]).toEqual([2, 2, 2]);
    y.dispose();
  });

  test('equal steps make no new buffers', () => {
    const w = tf.variable(tf.randomNormal([64, 64], 0, 0.1, 'float32', 1));
    const x = tf.randomNormal([32, 64], 0, 1, 'float32', 2);
    const optimizer = tf.train.adam(0.01);
    const step = () =>
      optimizer.minimize(() => tf.tidy(() => tf.square(tf.matMul(x as tf.Tensor2D, w as unknown as tf.Tensor2D)).mean() as tf.Scalar));
    for (let i = 0; i < 3; i++) step();
    const { device } = tf.backend() as WebGPUBackend;
    const createBuffer = vi.spyOn(device, 'createBuffer');
    for (let i = 0; i < 3; i++) step();
    const STORAGE = 128;
    expect(createBuffer.mock.calls.filter(([{ size, usage }]) => usage & STORAGE && size > 64)).toEqual([]);
    createBuffer.mockRestore();
    tf.dispose([w, x]);
    optimizer.dispose();
  });

  test('steps of sizes that cannot stand for each other soon make no new buffers either, and hold little more', () => {
    trimPool(tf.backend());
    const weights = tf.add(tf.fill([24 * MiB], 1), 1);
    const { used } = poolUse(tf.backend(), { resetPeak: true });
    const step = () => {
      for (const size of [15, 16, 17]) tf.tidy(() => void tf.fill([(size * MiB) / 4], size));
    };
    for (let i = 0; i < 3; i++) step(); // the idle ones pass the slack of an eighth
    const createBuffer = vi.spyOn((tf.backend() as WebGPUBackend).device, 'createBuffer');
    for (let i = 0; i < 3; i++) step();
    expect(createBuffer.mock.calls.filter(([{ size }]) => size > 64)).toEqual([]);
    createBuffer.mockRestore();
    const { allocated } = poolUse(tf.backend());
    expect(allocated - used).toBeLessThanOrEqual(48 * MiB + 4096);
    weights.dispose();
    trimPool(tf.backend());
  });

  test('of idle buffers the oldest is taken, in whatever order they came back', async () => {
    const { tensorMap } = tf.backend() as WebGPUBackend;
    const x = tf.add(tf.ones([1023]), 1);
    const make = () => [1, 2, 3, 4].map((i) => tf.add(x, i));
    const first = make();
    const buffers = first.map(({ dataId }) => tensorMap.get(dataId).resource);
    for (const i of [2, 0, 3, 1]) first[i]!.dispose();
    const second = make();
    expect(second.map(({ dataId }) => buffers.indexOf(tensorMap.get(dataId).resource))).not.toContain(-1);
    const taken = second.map(({ dataId }) => tensorMap.get(dataId).resource);
    for (const i of [3, 1, 0, 2]) second[i]!.dispose();
    const third = make();
    expect(third.map(({ dataId }) => tensorMap.get(dataId).resource)).toEqual(taken);
    tf.dispose([x, third]);
  });

  test('past a limit of one’s own the tensor is refused, and all goes on', async () => {
    const x = tf.add(tf.ones([MiB / 4]), 0);
    trimPool(tf.backend());
    const { used } = poolUse(tf.backend());
    await useBackend('webgpu', { maxBytes: used + 3.5 * MiB });
    const [tensors, ids] = [tf.memory().numTensors, tf.backend().numDataIds()];
    const error = caught(() => tf.tidy(() => [1, 2, 3, 4, 5].map((i) => tf.keep(tf.add(x, i)))));
    expect(error).toMatchObject({ code: 'out-of-memory' });
    expect(error?.message).toMatch(/^\[webgpu\] a tensor asks for 1\.0 MiB; .* are in use\. Use a smaller batch/);
    await useBackend('webgpu');
    expect(poolUse(tf.backend()).limit).toBe(Number.POSITIVE_INFINITY);
    const kept = tf.memory().numTensors - tensors;
    expect(tf.backend().numDataIds() - ids).toBe(kept);
    const y = tf.add(x, 1);
    expect((await y.data()).every((value) => value === 2)).toBe(true);
    tf.dispose([x, y]);
  });

  test('idle buffers make way for what values are read and uploaded through, too', async () => {
    trimPool(tf.backend());
    const x = tf.add(tf.fill([MiB], 1), 1);
    const { used } = poolUse(tf.backend());
    const limit = used + 12 * MiB;
    await useBackend('webgpu', { maxBytes: limit });
    const fill = () => [1.5, 2.5, 3, 4].forEach((size, i) => tf.tidy(() => void tf.fill([(size * MiB) / 4], i)));
    fill();
    expect(poolUse(tf.backend(), { resetPeak: true }).allocated).toBeGreaterThan(limit - 4 * MiB); // less than x
    expect((await x.data()).every((value) => value === 2)).toBe(true);
    fill();
    const y = tf.tidy(() => tf.add(tf.tensor1d(new Float32Array(MiB).fill(3)), x)); // and the sum
    expect((await tf.slice(y, [0], [3]).data()).join()).toBe('5,5,5');
    expect(poolUse(tf.backend()).peak).toBeLessThanOrEqual(limit);
    await useBackend('webgpu');
    tf.dispose([x, y]);
  });

  test('a tensor larger than the adapter binds is refused by name of the limit, before anything is touched', () => {
    const { maxStorageBufferBindingSize: limit } = (tf.backend() as WebGPUBackend).device.limits;
    if (limit > 2 ** 31) return; // its buffer would not fit this test
    const x = tf.add(tf.ones([1, 1024]), 0);
    const [ids, { used }] = [tf.backend().numDataIds(), poolUse(tf.backend())];
    const error = caught(() => tf.tidy(() => tf.tile(x as tf.Tensor2D, [limit / 4096 + 1, 1])));
    expect(error).toMatchObject({ code: 'out-of-memory' });
    expect(error?.message).toContain(`this adapter binds at most ${(limit / MiB).toFixed(1)} MiB at once`);
    expect([tf.backend().numDataIds(), poolUse(tf.backend()).used]).toEqual([ids, used]);
    x.dispose();
  });

  test('bad limits and backends without a pool of ours are explained', async () => {
    await expect(useBackend('webgpu', { maxBytes: 0 })).rejects.toMatchObject({ code: 'bad-option' });
    await expect(useBackend('webgpu', { wasmPaths: '/' })).rejects.toThrow('got wasmPaths with "webgpu"');
    expect(caught(() => poolUse({}))).toMatchObject({ code: 'bad-option' });
  });
});
