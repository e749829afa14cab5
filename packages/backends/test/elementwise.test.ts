import { beforeAll, describe, expect, it } from 'vitest';
import { distance, expectLikeCpu, expectSameForAllTypes, prepare, random, runOn, whole } from './compare.ts';

beforeAll(prepare);

describe('sum and mean on wasm', () => {
  it.each([
    [
      [2, 5, 6, 7],
      [0, 1, 2],
    ],
    [
      [2, 5, 6, 33],
      [0, 1, 2],
    ],
    [[3, 700], [0]],
    [[3, 700], [1]],
    [[600, 21], [0]],
    [[4, 9, 6], [1]],
    [
      [4, 9, 6],
      [0, 2],
    ],
    [
      [1, 5, 1, 3],
      [0, 2],
    ],
    [[2, 3], []],
    [[7], [0]],
    [[], []],
  ])('equal cpu for shape %j over axes %j', async (shape, axis) => {
    for (const kernel of ['Sum', 'Mean']) await expectLikeCpu(kernel, { x: random(shape) }, { axis, keepDims: false });
    const { shape: kept } = await runOn('wasm', 'Sum', { x: random(shape) }, { axis, keepDims: true });
    expect(kept).toEqual(shape.map((size, i) => (axis.includes(i as never) ? 1 : size)));
  });

  it('keep int32', () => expectLikeCpu('Sum', { x: whole([4, 5, 6], 1, 'int32') }, { axis: [0, 1], keepDims: false }, 0));

  it('stay within 1e-5 over a million elements, where a plain loop of float32 is off by 1e-3', async () => {
    const data = Array.from({ length: 2 ** 20 }, (_, i) => 0.1 + (i % 7) * 1e-3);
    const exact = data.reduce((sum, value) => sum + Math.fround(value), 0);
    for (const shape of [[2 ** 20], [2 ** 20, 1], [1, 2 ** 20]]) {
      const axis = shape.map((_, i) => i);
      const total = await runOn('wasm', 'Sum', { x: { shape, data } }, { axis, keepDims: false });
      expect(Math.abs((total.data[0] as number) - exact) / exact).toBeLessThan(1e-5);
    }
    const columns = await runOn('wasm', 'Sum', { x: { shape: [2 ** 19, 2], data } }, { axis: [0], keepDims: false });
    expect(Math.abs((columns.data[0] as number) + (columns.data[1] as number) - exact) / exact).toBeLessThan(1e-5);
  });
});

describe('over no elements on wasm', () => {
  it.each([
    ['Max', -Infinity, -(2 ** 31)],
    ['Min', Infinity, 2 ** 31 - 1],
    ['Prod', 1, 1],
  ])('%s is that of TensorFlow, not what the heap holds', async (kernel, float, int) => {
    for (const [dtype, value] of [['float32', float] as const, ['int32', int] as const]) {
      const x = { shape: [3, 0], data: [], dtype };
      const rows = await runOn('wasm', kernel, { x }, { axis: [1], reductionIndices: [1], keepDims: false });
      expect([rows.shape, Array.from(rows.data)]).toEqual([[3], [value, value, value]]);
      const all = await runOn('wasm', kernel, { x }, { axis: undefined, reductionIndices: undefined, keepDims: true });
      expect([all.shape, Array.from(all.data)]).toEqual([[1, 1], [value]]);
    }
  });
});

describe('casts to bool on wasm', () => {
  it.each(['float32', 'int32'] as const)('of %s are true for all but zero', async (dtype) => {
    const data = dtype === 'float32' ? [0, -0, 0.5, -2, 256, Number.NaN] : [0, 0, 1, -2, 256, 2 ** 30];
    const y = await runOn('wasm', 'Cast', { x: { shape: [6], data, dtype } }, { dtype: 'bool' });
    expect([y.dtype, Array.from(y.data)]).toEqual(['bool', [0, 0, 1, 1, 1, 1]]);
  });
});

describe('tile on wasm', () => {
  it.each([
    [
      [1, 1, 1, 5],
      [2, 3, 4, 1],
    ],
    [
      [2, 3],
      [3, 2],
    ],
    [
      [2, 3, 2],
      [1, 5, 1],
    ],
    [[4], [7]],
    [
      [2, 1, 3],
      [1, 1, 1],
    ],
    [[], []],
    [
      [2, 3],
      [0, 2],
    ],
  ])('equals cpu for shape %j and repetitions %j', async (shape, reps) => {
    await expectLikeCpu('Tile', { x: random(shape) }, { reps }, 0);
    await expectLikeCpu('Tile', { x: whole(shape, 1, 'int32') }, { reps }, 0);
  });
});

describe('transpose on wasm', () => {
  it.each([
    [
      [37, 21],
      [1, 0],
    ],
    [
      [2, 19, 33],
      [0, 2, 1],
    ],
    [
      [2, 5, 6, 7],
      [0, 3, 1, 2],
    ],
    [
      [2, 5, 6, 7],
      [0, 2, 3, 1],
    ],
    [
      [2, 5, 6, 7],
      [0, 2, 1, 3],
    ],
    [
      [2, 5, 6, 7],
      [3, 2, 1, 0],
    ],
    [
      [2, 5, 6, 7],
      [2, 3, 0, 1],
    ],
    [
      [4, 1, 5, 1],
      [3, 2, 1, 0],
    ],
    [
      [4, 1, 5, 1],
      [1, 0, 2, 3],
    ],
    [
      [0, 3],
      [1, 0],
    ],
    [[], []],
  ])('equals cpu for shape %j and permutation %j', async (shape, perm) => {
    await expectSameForAllTypes('Transpose', shape, { perm });
  });
});

describe('batch norm on wasm', () => {
  const positive = (shape: number[], seed: number) => ({ shape, data: random(shape, seed).data.map((value) => Math.abs(value) + 0.1) });

  it.each([[[2, 4, 5, 3]], [[3, 2, 2, 18]], [[7, 4]]])('equals cpu for shape %j, with and without scale and offset', async (shape) => {
    const channels = [shape.at(-1) as number];
    const statistics = { x: random(shape), mean: random(channels, 2), variance: positive(channels, 3) };
    const [scale, offset] = [random(channels, 4), random(channels, 5)];
    const attrs = { varianceEpsilon: 1e-3 };
    // cpu takes rank 1 statistics for any rank of x
    for (const inputs of [statistics, { ...statistics, scale }, { ...statistics, offset }, { ...statistics, scale, offset }])
      await expectLikeCpu('FusedBatchNorm', inputs, attrs);
  });

  it('equals cpu for statistics of the shape of x', async () => {
    const shape = [2, 3, 3, 2];
    await expectLikeCpu(
      'FusedBatchNorm',
      { x: random(shape), mean: random(shape, 2), variance: positive(shape, 3), scale: random(shape, 4), offset: random(shape, 5) },
      { varianceEpsilon: 1e-3 },
    );
  });
});

describe('arithmetic on wasm', () => {
  it.each(['Add', 'Sub', 'Multiply', 'Maximum', 'Minimum'])(
    '%s equals cpu for equal shapes, rows, columns and a number on either side',
    async (kernel) => {
      for (const columns of [2, 8, 37, 200]) {
        const a = random([3, 5, columns]);
        for (const b of [
          random([3, 5, columns], 2),
          random([columns], 3),
          random([1, 1, columns], 3),
          random([3, 5, 1], 4),
          random([], 5),
          random([1], 6),
        ]) {
          await expectLikeCpu(kernel, { a, b }, {}, 0);
          await expectLikeCpu(kernel, { a: b, b: a }, {}, 0);
        }
      }
    },
  );

  it.each(['Maximum', 'Minimum'])('%s is NaN where either side is', async (kernel) => {
    const inputs = {
      a: { shape: [5], data: [Number.NaN, 1, 2, Number.NaN, 3] },
      b: { shape: [5], data: [1, Number.NaN, 3, Number.NaN, -1] },
    };
    const { data } = await runOn('wasm', kernel, inputs, {});
    expect(Array.from(data).map(Number.isNaN)).toEqual([true, true, false, true, false]);
  });
});

describe('comparisons and masks on wasm', () => {
  const comparisons = ['Equal', 'NotEqual', 'Less', 'LessEqual', 'Greater', 'GreaterEqual'];

  it.each(comparisons)('%s equals cpu for equal shapes, a number on either side, and broadcast rows', async (kernel) => {
    const a = whole([3, 37], 1);
    for (const b of [whole([3, 37], 2), whole([], 3), whole([1, 1], 3), whole([37], 4), whole([3, 1], 5)]) {
      await expectLikeCpu(kernel, { a, b }, {}, 0);
      await expectLikeCpu(kernel, { a: b, b: a }, {}, 0);
    }
  });

  it.each([...comparisons, 'Maximum', 'Minimum'])('%s equals cpu whatever axes broadcast, on one side or on both', async (kernel) => {
    const whole4d = whole([2, 3, 4, 9], 1);
    for (const shape of [
      [2, 1, 1, 9],
      [3, 1, 9],
      [2, 3, 1, 1],
      [1, 4, 1],
      [1, 3, 4, 9],
    ]) {
      await expectLikeCpu(kernel, { a: whole4d, b: whole(shape, 2) }, {}, 0);
      await expectLikeCpu(kernel, { a: whole(shape, 2), b: whole4d }, {}, 0);
    }
    await expectLikeCpu(kernel, { a: whole([2, 1, 4, 9], 1), b: whole([1, 3, 1, 9], 2) }, {}, 0);
    await expectLikeCpu(kernel, { a: whole([4, 1], 1), b: whole([1, 9], 2) }, {}, 0);
    await expectLikeCpu(kernel, { a: whole([9, 4, 1], 1), b: whole([4, 1], 2) }, {}, 0);
    await expectLikeCpu(kernel, { a: whole([0, 9], 1), b: whole([1, 9], 2) }, {}, 0);
  });

  it.each(comparisons)('%s says about NaN what cpu says', async (kernel) => {
    const data = [Number.NaN, 1, Number.NaN, 2, 0, Number.POSITIVE_INFINITY];
    await expectLikeCpu(
      kernel,
      {
        a: { shape: [18], data: [...data, ...data, ...data] },
        b: { shape: [18], data: [...data, ...[...data].reverse(), ...data.map(() => 1)] },
      },
      {},
      0,
    );
  });

  it('and, not and where equal cpu', async () => {
    const [a, b] = [whole([5, 7], 1), whole([5, 7], 2)].map(({ shape, data }) => ({
      shape,
      dtype: 'bool' as const,
      data: data.map((value) => Number(value > 0)),
    }));
    if (!a || !b) throw new Error('two masks expected');
    await expectLikeCpu('LogicalAnd', { a, b }, {}, 0);
    await expectLikeCpu('LogicalNot', { x: a }, {}, 0);
    await expectLikeCpu('Cast', { x: a }, { dtype: 'float32' }, 0);
    await expectLikeCpu('Select', { condition: a, t: random([5, 7], 3), e: random([5, 7], 4) }, {}, 0);
    await expectLikeCpu('Select', { condition: a, t: whole([5, 7], 3, 'int32'), e: whole([5, 7], 4, 'int32') }, {}, 0);
  });

  it('a cast to the same type shares the data', async () => {
    const x = random([4, 3]);
    const { data } = await runOn('wasm', 'Cast', { x }, { dtype: 'float32' });
    expect(distance(data, x.data)).toBeLessThan(1e-7);
  });
});

describe('gather on wasm', () => {
  const indices = { shape: [2, 3], data: [3, 0, 3, 1, 2, 0], dtype: 'int32' as const };

  it.each([0, 1, 2, -1])('equals cpu along axis %j', async (axis) => {
    await expectLikeCpu('GatherV2', { x: random([4, 5, 6]), indices }, { axis, batchDims: 0 }, 0);
    await expectLikeCpu('GatherV2', { x: whole([4, 4, 4], 1, 'int32'), indices }, { axis, batchDims: 0 }, 0);
  });

  it('names an index out of range and leaves nothing behind', async () => {
    const far = { shape: [3], data: [0, 4, 9], dtype: 'int32' as const };
    await expect(runOn('wasm', 'GatherV2', { x: random([4, 2]), indices: far }, { axis: 0, batchDims: 0 })).rejects.toThrow(
      'the index value 4 is not in [0, 3]',
    );
  });
});

describe('one-hot on wasm', () => {
  it.each(['float32', 'int32', 'bool'])('writes %s, and nothing for labels that are out of range', async (dtype) => {
    const indices = { shape: [2, 3], data: [0, 2, 1, -1, 3, 2], dtype: 'int32' as const };
    await expectLikeCpu('OneHot', { indices }, { depth: 3, onValue: 1, offValue: 0, dtype }, 0);
  });

  it('takes other values than 1 and 0', async () => {
    const { data } = await runOn(
      'wasm',
      'OneHot',
      { indices: { shape: [2], data: [1, 0], dtype: 'int32' } },
      { depth: 2, onValue: 0.75, offValue: 0.25, dtype: 'float32' },
    );
    expect(Array.from(data)).toEqual([0.25, 0.75, 0.75, 0.25]);
  });
});
