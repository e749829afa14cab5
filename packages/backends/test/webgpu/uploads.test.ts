/** Small tensors on their way to the GPU: exact, in order with the kernels around them, and without buffers of their own. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test, vi } from 'vitest';
import { useBackend } from '../../src/index.ts';
import type { WebGPUBackend } from '../../src/webgpu/index.ts';

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));
  const backend = () => tf.backend() as WebGPUBackend;
  const values = (size: number, start: number) => Float32Array.from({ length: size }, (_, i) => start + i);

  test.each(['float32', 'int32', 'bool'] as const)('%s of odd sizes arrive as they were', async (dtype) => {
    const all = [1, 3, 64, 1001, 32768, 32769].map((size) => {
      const given = Array.from({ length: size }, (_, i) => (dtype === 'bool' ? i % 3 === 0 : i - 7));
      return { x: tf.tensor1d(given as number[], dtype), given };
    });
    for (const { x } of all) backend().uploadToGPU(x.dataId);
    for (const { x, given } of all) {
      expect(Array.from(await x.data(), Number)).toEqual(given.map(Number));
      x.dispose();
    }
  });

  test('more than the shared buffer holds goes in several batches', async () => {
    const tensors = Array.from({ length: 40 }, (_, i) => tf.tensor1d(values(30_000, 1e5 * i)));
    const sums = tensors.map((x) => tf.add(x, 1));
    for (const [i, y] of sums.entries()) expect((await y.data()).every((value, at) => value === 1e5 * i + 1 + at)).toBe(true);
    tf.dispose([tensors, sums]);
  });

  test('a buffer that an earlier kernel of the open batch reads is written after it', async () => {
    const size = 2048;
    const first = tf.tensor1d(values(size, 0));
    const y = tf.add(first, 0.5); // recorded, and not submitted
    const { resource } = backend().tensorMap.get(first.dataId);
    first.dispose();
    const second = tf.tensor1d(values(size, 7000));
    const z = tf.add(second, 0.5);
    expect(backend().tensorMap.get(second.dataId).resource).toBe(resource);
    expect(await y.data()).toEqual(values(size, 0.5));
    expect(await z.data()).toEqual(values(size, 7000.5));
    tf.dispose([y, second, z]);
  });

  test('steps with new labels make no buffers', () => {
    const step = (i: number) => {
      const [x, labels] = [tf.tensor1d(values(2048, i)), tf.tensor1d(Int32Array.from({ length: 2048 }, (_, at) => at + i))];
      const sum = tf.tidy(() => tf.sum(tf.mul(x, tf.add(labels, 1))));
      sum.dataSync();
      tf.dispose([x, labels, sum]);
    };
    for (let i = 0; i < 3; i++) step(i);
    const createBuffer = vi.spyOn(backend().device, 'createBuffer');
    for (let i = 3; i < 6; i++) step(i);
    expect(createBuffer).not.toHaveBeenCalled();
    createBuffer.mockRestore();
  });

  test.each([
    ['gather', () => tf.gather(tf.tensor2d(values(64, 0), [2, 32]), tf.tensor1d(Int32Array.from({ length: 512 }, (_, i) => i % 2)))],
    ['tile', () => tf.tile(tf.tensor2d(values(64, 0), [2, 32]), [64, 4])],
  ] as const)('%s of a small tensor to a large one runs on the GPU', async (_, make) => {
    const y = tf.tidy(make) as tf.Tensor;
    expect(backend().tensorMap.get(y.dataId).resource).toBeTruthy();
    await tf.setBackend('cpu');
    const truth = tf.tidy(make) as tf.Tensor;
    await tf.setBackend('webgpu');
    expect(await y.data()).toEqual(await truth.data());
    tf.dispose([y, truth]);
  });
});
