import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { distance, expectLikeCpu, prepare, random, runOn, whole } from './compare.ts';

beforeAll(prepare);

const transposes = [
  [false, false],
  [false, true],
  [true, false],
  [true, true],
] as const;
const swap = (shape: number[], really: boolean): number[] => (really ? [...shape.slice(0, -2), ...shape.slice(-2).reverse()] : shape);

/** batch of a, batch of b, m, k, n */
const products: [number[], number[], number, number, number][] = [
  [[], [], 1, 1, 1],
  [[], [], 5, 7, 9],
  [[1], [1], 16, 8, 32],
  [[1], [1], 70, 300, 270],
  [[3], [3], 4, 5, 6],
  [[3], [1], 4, 5, 6],
  [[1], [3], 4, 5, 6],
  [[2, 3], [1, 1], 3, 2, 5],
  [[2, 4], [2, 4], 7, 8, 7],
];

describe('matMul on wasm', () => {
  for (const [transposeA, transposeB] of transposes) {
    it.each(products)(
      `equals cpu for batches %j and %j, m %j, k %j, n %j, transposes ${transposeA} ${transposeB}`,
      async (aBatch, bBatch, m, k, n) => {
        const [aShape, bShape] = [swap([...aBatch, m, k], transposeA), swap([...bBatch, k, n], transposeB)];
        await expectLikeCpu('BatchMatMul', { a: random(aShape), b: random(bShape, 2) }, { transposeA, transposeB });
        await expectLikeCpu('BatchMatMul', { a: whole(aShape, 1, 'int32'), b: whole(bShape, 2, 'int32') }, { transposeA, transposeB }, 0);
      },
    );
  }

  it('broadcasts batches on both sides, which cpu does not', async () => {
    const [a, b] = [random([2, 1, 3, 3, 2]), random([4, 1, 2, 5], 2)];
    const { shape, data } = await runOn('wasm', 'BatchMatMul', { a, b }, { transposeA: false, transposeB: false });
    expect(shape).toEqual([2, 4, 3, 3, 5]);
    await tf.setBackend('wasm');
    const expected = tf.tidy(() => {
      const [left, right] = [
        tf.tile(tf.tensor(a.data, a.shape), [1, 4, 1, 1, 1]),
        tf.tile(tf.tensor(b.data, [1, 4, 1, 2, 5]), [2, 1, 3, 1, 1]),
      ];
      return tf.sum(tf.mul(tf.expandDims(left, 5), tf.expandDims(right, 3)), 4).dataSync();
    });
    expect(distance(data, expected)).toBeLessThan(2e-6);
  });

  it('gives zeros when the inner size is 0', async () => {
    const { data } = await runOn(
      'wasm',
      'BatchMatMul',
      { a: random([1, 2, 0]), b: random([1, 0, 3]) },
      { transposeA: false, transposeB: false },
    );
    expect(Array.from(data)).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it('names the shapes whose inner sizes differ', async () => {
    await expect(
      runOn('wasm', 'BatchMatMul', { a: random([1, 2, 3]), b: random([1, 4, 5]) }, { transposeA: false, transposeB: false }),
    ).rejects.toThrow('[1,2,3] and [1,4,5]');
  });

  it.each([[[6]], [[1, 6]], [[1, 1, 6]], [[5, 6]], [[]], [[5, 1]]])('fuses a bias of shape %j and an activation', async (shape) => {
    const bias = random(shape, 3);
    for (const activation of ['linear', 'relu', 'relu6', 'sigmoid', 'elu', 'leakyrelu'])
      await expectLikeCpu(
        '_FusedMatMul',
        { a: random([1, 4, 5]), b: random([1, 6, 4], 2), bias },
        { transposeA: true, transposeB: true, activation, leakyreluAlpha: 0.3 },
      );
  });

  it.each(['linear', 'relu', 'relu6'])(
    'the fused product with %s keeps NaN and the cuts exact, in whole vectors and behind them',
    async (activation) => {
      const data = [Number.NaN, -1, 7, 3, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, 6, Number.NaN, -2, 8];
      const identity = Array.from({ length: 121 }, (_, i) => Number(i % 12 === 0));
      const cut = { linear: (v: number) => v, relu: (v: number) => (v < 0 ? 0 : v), relu6: (v: number) => (v < 0 ? 0 : v > 6 ? 6 : v) }[
        activation
      ];
      const y = await runOn(
        'wasm',
        '_FusedMatMul',
        { a: { shape: [1, 1, 11], data: new Array(11).fill(1) }, b: { shape: [1, 11, 11], data: identity }, bias: { shape: [11], data } },
        { transposeA: false, transposeB: false, activation },
      );
      expect(Array.from(y.data)).toEqual(data.map((v) => cut?.(v + 1)));
    },
  );
});

describe('einsum on wasm', () => {
  it.each([
    ['ij,jk->ik', [3, 4], [4, 5]],
    ['ij,kj->ik', [3, 4], [5, 4]],
    ['ji,jk->ki', [4, 3], [4, 5]],
    ['bhqd,bhkd->bhqk', [2, 3, 4, 5], [2, 3, 6, 5]],
    ['bqhd,bkhd->bhqk', [2, 4, 3, 5], [2, 6, 3, 5]],
    ['bhqk,bkhd->bqhd', [2, 3, 4, 6], [2, 6, 3, 5]],
    ['abc,abd->cd', [2, 3, 4], [2, 3, 5]],
    ['ij,ij->ij', [3, 4], [3, 4]],
    ['ij,ij->', [3, 4], [3, 4]],
    ['i,j->ij', [3], [4]],
    ['i,j->ji', [3], [4]],
    ['bij,b->ij', [2, 3, 4], [2]],
    ['abc,cd->abd', [2, 3, 4], [4, 5]],
    ['a,->a', [4], []],
  ])('equals cpu for %s', async (equation, a, b) => {
    await expectLikeCpu('Einsum', { 0: random(a), 1: random(b, 2) }, { equation });
  });

  it.each([
    ['ij->ji', [3, 4]],
    ['ijk->j', [2, 3, 4]],
    ['ij->', [3, 4]],
    ['ij->ij', [3, 4]],
  ])('equals cpu for %s', async (equation, a) => {
    await expectLikeCpu('Einsum', { 0: random(a) }, { equation });
  });
});

describe('einsum of letters that one operand alone has', () => {
  it('sums them first', async () => {
    const { data, shape } = await runOn(
      'wasm',
      'Einsum',
      { 0: { shape: [2, 2], data: [1, 2, 3, 4] }, 1: { shape: [3], data: [1, 10, 100] } },
      { equation: 'ij,k->i' },
    );
    expect([shape, Array.from(data)]).toEqual([[2], [333, 777]]);
  });
});

describe('unsortedSegmentSum on wasm', () => {
  const ids = (data: number[]) => ({ shape: [data.length], data, dtype: 'int32' as const });

  it('equals cpu with repeated, missing and negative ids', async () => {
    await expectLikeCpu('UnsortedSegmentSum', { x: random([7, 3, 5]), segmentIds: ids([2, 0, 2, -1, 9, 0, 3]) }, { numSegments: 5 });
    await expectLikeCpu('UnsortedSegmentSum', { x: random([4]), segmentIds: ids([1, 1, 0, 1]) }, { numSegments: 2 });
  });

  it('keeps int32', async () => {
    const { data, dtype } = await runOn(
      'wasm',
      'UnsortedSegmentSum',
      { x: { shape: [3, 2], data: [1, 2, 3, 4, 5, 6], dtype: 'int32' }, segmentIds: ids([1, 0, 1]) },
      { numSegments: 2 },
    );
    expect([dtype, ...Array.from(data)]).toEqual(['int32', 3, 4, 6, 8]);
  });

  it('is the gradient of gather', async () => {
    await tf.setBackend('wasm');
    const dx = tf.tidy(() =>
      Array.from(
        tf
          .grad((x: tf.Tensor) => tf.gather(x, [1, 1, 0]))(tf.ones([3, 2]), tf.tensor([1, 2, 3, 4, 5, 6], [3, 2]))
          .dataSync(),
      ),
    );
    expect(dx).toEqual([5, 6, 4, 6, 0, 0]);
  });
});

describe('small kernels on wasm', () => {
  it('clipByValue lets NaN through', async () => {
    const { data } = await runOn(
      'wasm',
      'ClipByValue',
      { x: { shape: [5], data: [-3, Number.NaN, 0.5, 7, Number.NEGATIVE_INFINITY] } },
      { clipValueMin: -1, clipValueMax: 1 },
    );
    expect(Array.from(data)).toEqual([-1, Number.NaN, 0.5, 1, -1]);
  });

  it('a clone shares the data of its tensor and outlives it', async () => {
    await tf.setBackend('wasm');
    const before = tf.memory().numTensors;
    const x = tf.tensor([1, 2, 3]);
    const y = tf.clone(x);
    expect(y.dataId).toBe(x.dataId);
    x.dispose();
    expect(Array.from(y.dataSync())).toEqual([1, 2, 3]);
    y.dispose();
    expect(tf.memory().numTensors).toBe(before);
  });

  it('a transpose that moves only axes of size 1 copies nothing', async () => {
    const x = random([3, 1, 4]);
    const { shape, data } = await runOn('wasm', 'Transpose', { x }, { perm: [1, 0, 2] });
    expect(shape).toEqual([1, 3, 4]);
    expect(Array.from(data)).toEqual(Array.from(new Float32Array(x.data)));
    await expectLikeCpu('Transpose', { x: random([3, 1, 4]) }, { perm: [2, 1, 0] }, 0);
  });
});
