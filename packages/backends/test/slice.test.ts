/** Slices and splits on wasm: what cpu gives, bit for bit, and no more of x read than is asked for. */
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { guardHeap, heapUse } from '../src/wasm/index.ts';
import { expectSameForAllTypes, prepare, random, runOn } from './compare.ts';

beforeAll(prepare);

describe('slice on wasm', () => {
  it.each([
    [[7], [2], [3]],
    [[7], [7], [0]],
    [
      [9, 5],
      [3, 0],
      [4, 5],
    ],
    [
      [9, 5],
      [3, 0],
      [4, -1],
    ],
    [
      [9, 5],
      [0, 2],
      [9, 1],
    ],
    [
      [9, 5],
      [8, 4],
      [1, 1],
    ],
    [
      [4, 6, 8],
      [1, 2, 0],
      [2, 3, 8],
    ],
    [
      [4, 6, 8],
      [0, 2, 3],
      [4, 3, 5],
    ],
    [
      [4, 6, 8],
      [0, 0, 3],
      [4, 6, 2],
    ],
    [
      [4, 6, 40],
      [1, 0, 3],
      [3, 6, 33],
    ],
    [
      [3, 4, 5, 6],
      [1, 0, 2, 0],
      [2, 4, 3, 6],
    ],
    [
      [3, 4, 5, 6],
      [1, 1, 1, 1],
      [1, 2, 3, 4],
    ],
    [
      [2, 3, 2, 3, 4],
      [1, 0, 1, 0, 2],
      [1, 3, 1, 2, 2],
    ],
    [
      [2, 3, 2, 3, 2, 4],
      [0, 1, 0, 1, 0, 1],
      [2, 2, 2, 2, 2, 2],
    ],
    [
      [3, 0, 2],
      [1, 0, 0],
      [2, 0, 1],
    ],
    [
      [3, 1, 4],
      [0, 0, 1],
      [3, 1, 2],
    ],
  ])('equals cpu for shape %j from %j, %j of them', async (shape, begin, size) => {
    await expectSameForAllTypes('Slice', shape, { begin, size });
  });

  it('moves what is asked for, and reads nothing out of the heap', async () => {
    await tf.setBackend('wasm');
    const x = tf.randomNormal([1000, 64]);
    const read = vi.spyOn(tf.backend(), 'readSync');
    const rows = tf.slice(x, [500, 0], [3, 64]);
    const [left] = tf.split(x, 2, 1);
    const [first] = tf.unstack(x);
    expect(read).not.toHaveBeenCalled();
    read.mockRestore();
    const values = x.dataSync();
    expect(rows.dataSync()).toEqual(values.slice(500 * 64, 503 * 64));
    expect(left!.arraySync()).toEqual((x.arraySync() as number[][]).map((row) => row.slice(0, 32)));
    expect(first!.dataSync()).toEqual(values.slice(0, 64));
  });

  it('gives tensors of their own: x stays as it is when a slice of all of it changes', async () => {
    await tf.setBackend('wasm');
    const x = tf.ones([4, 3]);
    const all = tf.slice(x, [0, 0], [4, 3]);
    tf.engine().runKernel('AddTo', { sum: all, x: tf.ones([4, 3]) });
    expect(Array.from(x.dataSync())).toEqual(Array(12).fill(1));
  });

  it('begins at whole elements, as tfjs does for half of an odd number', async () => {
    const x = { shape: [7, 3], data: Array.from({ length: 21 }, (_, i) => i) };
    const { data } = await runOn('wasm', 'Slice', { x }, { begin: [3.5, 0], size: [2, 3] });
    expect(Array.from(data)).toEqual([10, 11, 12, 13, 14, 15]);
  });

  it('refuses what lies outside, and slices strings as tfjs does, and copies a scalar', async () => {
    await tf.setBackend('wasm');
    const slice = (x: tf.Tensor, begin: number[], size: number[]) =>
      tf.engine().runKernel('Slice', { x }, { begin, size } as unknown as tf.NamedAttrMap) as tf.Tensor;
    expect(() => slice(tf.ones([4, 3]), [2, 0], [3, 3])).toThrow('would overflow');
    expect(() => slice(tf.ones([4, 3]), [-2, 0], [1, 3])).toThrow('got begin [-2,0] of shape [4,3]; expected no number below 0');
    expect(slice(tf.scalar(5), [], []).dataSync()[0]).toBe(5);
    expect(tf.slice(tf.tensor1d(['a', 'b', 'c']), 1, 2).dataSync()).toEqual(['b', 'c']);
  });
});

describe('split and unstack on wasm', () => {
  it.each([
    [[6, 5], 3, 0],
    [[6, 5], [2, 3], 1],
    [[6, 5], [1, -1, 3], 0],
    [[2, 4, 6], 2, -1],
    [[2, 4, 6], [1, 1, 2], 1],
  ] as [number[], number | number[], number][])('equals cpu for shape %j in %j along %j', async (shape, sizes, axis) => {
    const of = async (backend: string) => {
      await tf.setBackend(backend);
      const x = tf.tensor(random(shape).data, shape);
      const parts = [...tf.split(x, sizes, axis), ...tf.unstack(x, axis)];
      return parts.map((part) => ({ shape: part.shape, data: Array.from(part.dataSync()) }));
    };
    expect(await of('wasm')).toEqual(await of('cpu'));
  });

  it('makes all parts or none where memory ends amid them', async () => {
    await tf.setBackend('wasm');
    const x = tf.ones([4, 4096]);
    const before = tf.backend().numDataIds();
    guardHeap(tf.backend(), heapUse(tf.backend()).used + 40_000);
    try {
      expect(() => tf.split(x, 4)).toThrow('a tensor asks for');
      expect(tf.backend().numDataIds()).toBe(before);
    } finally {
      guardHeap(tf.backend());
    }
  });
});
