import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../src/index.ts';
import type { Attrs, KernelMap } from '../src/kernels.ts';
import type { TensorflowBackend } from '../src/tensorflow/binding.ts';
import { ownCodes } from '../src/tensorflow/own-codes.ts';
import { registered } from '../src/tensorflow/own-op.ts';
import { ownOps } from '../src/tensorflow/own-ops.ts';
import { poolCodes } from '../src/tensorflow/pool-codes.ts';
import { rowCodes } from '../src/tensorflow/row-codes.ts';
import { stepCodes } from '../src/tensorflow/step-codes.ts';
import { distance, prepare, random, runOn, type Values, whole } from './compare.ts';

beforeAll(async () => {
  await useBackend('cpu');
  await prepare();
});

const backends = await available(['cpu', 'wasm', 'tensorflow', 'webgpu']);
/** Those that compute in float32 as JavaScript rounds it, and so give the same words. */
const alike = ['cpu', 'wasm', 'tensorflow'];
/** `tensorflow` without ops of our own: composed of TensorFlow's. */
const composed: KernelMap<TensorflowBackend> = { ...stepCodes, ...rowCodes, ...poolCodes };
const hasOwn = Object.keys(ownOps()).includes('EncodeSteps');
const codesOf = ({ shape, data }: { shape: number[]; data: ArrayLike<number> }): Values => ({
  shape,
  data: Array.from(data),
  dtype: 'int32',
});
/** On every backend, each like cpu: they read the same words. */
async function everywhere(kernel: string, inputs: { [name: string]: Values }, attrs: object) {
  const outcomes = [];
  for (const backend of backends) outcomes.push(await runOn(backend, kernel, inputs, attrs));
  for (const { data } of outcomes) expect(distance(data, outcomes[0]!.data)).toBeLessThan(2e-6);
  return outcomes;
}
const steps = (bits: number) => {
  const borders = Array.from(
    { length: 2 ** Math.min(bits, 5) - 1 },
    (_, i, { length } = { length: 2 ** Math.min(bits, 5) - 1 }) => (i - length / 2) / 8,
  );
  return { borders, codes: [...borders.keys(), borders.length].map((i) => (bits === 8 ? 255 - i : i)), bits };
};

describe('steps', () => {
  describe.each([1, 2, 4, 8])('of %d bits', (bits) => {
    it.each([1, 2, 7, 31, 32, 33, 100, 1003])('come back as the level of each of %d values, on every backend', async (n) => {
      const attrs = steps(bits);
      const levels = Array.from({ length: 2 ** bits }, (_, i) => Math.fround(i / 7 - 3));
      const x = random([n], n);
      const level = (value: number) =>
        levels[attrs.codes[attrs.borders.filter((border) => Math.fround(value) > Math.fround(border)).length]!]!;
      const dy = random([n], n + 1);
      for (const backend of backends) {
        const packed = await runOn(backend, 'EncodeSteps', { x }, attrs);
        expect(packed.shape).toEqual([Math.ceil((n * bits) / 32)]);
        const plain = await runOn(backend, 'DecodeSteps', { codes: codesOf(packed) }, { levels, bits, shape: [n] });
        expect(Array.from(plain.data)).toEqual(x.data.map(level));
        const times = await runOn(backend, 'DecodeSteps', { codes: codesOf(packed), dy }, { levels, bits, shape: [n] });
        expect(Array.from(times.data)).toEqual(x.data.map((value, i) => Math.fround(Math.fround(dy.data[i]!) * level(value))));
      }
    });
  });

  it.each([4, 8])('of %d bits whose borders are where the upper half of a float32 changes are told by that half', async (bits) => {
    const before = (value: number) => {
      const [at] = new Int32Array(Float32Array.of(value).buffer) as unknown as [number];
      return new Float32Array(Int32Array.of(at - 1).buffer)[0]!;
    };
    // A border itself lies below: of those above zero it is the last float32 before a bfloat16.
    const borders = Array.from({ length: 2 ** bits - 1 }, (_, i) => (i - 2 ** (bits - 1)) / 32 || 2 ** -100).map((v) =>
      v < 0 ? v : before(v),
    );
    const codes = [...borders.keys(), borders.length].reverse();
    const data = [...borders, ...borders.map(before), ...borders.map((v) => v + 2 ** -30), ...random([99], bits).data, 0, -0, 1e38, -1e38];
    const code = (value: number) => codes[borders.filter((border) => Math.fround(value) > border).length]!;
    for (const backend of backends) {
      const packed = await runOn(backend, 'EncodeSteps', { x: { shape: [data.length], data } }, { borders, codes, bits });
      const bytes = new Uint8Array(Int32Array.from(packed.data).buffer);
      const read = data.map((_, i) => (bits === 8 ? bytes[i]! : (bytes[i >> 1]! >> (4 * (i % 2))) & 15));
      expect(read).toEqual(data.map(code));
    }
  });

  it.each(backends.flatMap((backend) => [1.2e-38, 1e-45].map((least) => [backend, least] as const)))(
    'on %s a border itself lies below and %d above it, so that ReLU has slope 0 at 0, and a number that is none is the least',
    async (backend, least) => {
      const x = { shape: [6], data: [0, -0, least, -least, Number.NaN, Number.POSITIVE_INFINITY] };
      const packed = await runOn(backend, 'EncodeSteps', { x }, { borders: [0], codes: [0, 1], bits: 1 });
      const reads = backend === 'webgpu' ? [0b100100, 0b110100] : [0b100100]; // WGSL leaves open what NaN compares to
      expect(reads).toContain(Array.from(packed.data)[0]);
    },
  );
});

describe('rows', () => {
  describe.each([1, 2, 4, 8, 16])('of %d bits', (bits) => {
    it.each([
      [1, 1],
      [5, 5],
      [64, 16],
      [99, 33],
      [1000, 256],
    ])('of %d values by %d come back within half a step on every backend, in equal words on cpu, wasm and tensorflow', async (n, group) => {
      const x = random([n], n);
      const results = [];
      for (const backend of backends) {
        const packed = await runOn(backend, 'QuantizeRows', { x }, { bits, group, seed: 0 });
        const rows = Math.ceil(n / group);
        const lengths = Array.from({ length: rows }, (_, r) => Math.min(group, n - r * group));
        expect(packed.shape).toEqual([lengths.reduce((sum, length) => sum + 1 + Math.ceil((length * bits) / 32), 0)]);
        const back = await runOn(backend, 'DequantizeRows', { codes: codesOf(packed) }, { bits, group, shape: [n] });
        lengths.forEach((length, r) => {
          const row = x.data.slice(r * group, r * group + length);
          const span = Math.max(...row) - Math.min(...row);
          const largest = Math.max(...row.map(Math.abs));
          // A bfloat16 low lies at most 2^-7 of itself below, and its step is at most 2^-7 larger.
          const step = ((span + largest / 128) / (2 ** bits - 1)) * (1 + 1 / 128);
          row.forEach((value, i) => expect(Math.abs((back.data[r * group + i] as number) - value)).toBeLessThanOrEqual(step / 2 + 1e-6));
        });
        if (alike.includes(backend)) results.push([Array.from(packed.data), Array.from(back.data)]);
      }
      for (const result of results) expect(result).toEqual(results[0]);
    });

    it('rounded at random are the mean of what they stand for, and equal on cpu, wasm and tensorflow', async () => {
      const n = 4096;
      const x: Values = { shape: [n], data: Array.from({ length: n }, (_, i) => (i === 0 ? 0 : i === 1 ? 1 : 0.37)) };
      const seen = [];
      for (const backend of backends) {
        const packed = await runOn(backend, 'QuantizeRows', { x }, { bits, group: n, seed: 7 });
        const back = await runOn(backend, 'DequantizeRows', { codes: codesOf(packed) }, { bits, group: n, shape: [n] });
        const step = 1 / (2 ** bits - 1);
        const mean =
          Array.from(back.data)
            .slice(2)
            .reduce((sum, value) => sum + value, 0) /
          (n - 2);
        expect(Math.abs(mean - 0.37)).toBeLessThan(4 * step * Math.sqrt(0.25 / n) + 0.004 * step);
        if (alike.includes(backend)) seen.push(Array.from(packed.data));
      }
      for (const words of seen) expect(words).toEqual(seen[0]);
    });
  });

  it('of one value repeated, of zeros and of huge values keep their bounds', async () => {
    const x: Values = { shape: [12], data: [0, 0, 0, 0, 1.5, 1.5, 1.5, 1.5, 3e38, -3e38, 1, 0] };
    for (const backend of backends) {
      const packed = await runOn(backend, 'QuantizeRows', { x }, { bits: 4, group: 4, seed: 0 });
      const back = await runOn(backend, 'DequantizeRows', { codes: codesOf(packed) }, { bits: 4, group: 4, shape: [12] });
      expect(Array.from(back.data).slice(0, 8)).toEqual(x.data.slice(0, 8));
    }
  });

  const [rows, width] = [6, 37];
  const dy = random([rows, width], 5);

  it('give the gradient of softmax, exactly in 16 bits and with rows that sum to 0 in 4', async () => {
    const y = tf.tidy(() => tf.softmax(tf.tensor(random([rows, width], 3).data, [rows, width])).dataSync());
    const x: Values = { shape: [rows, width], data: Array.from(y) };
    const exact = x.data.map((value, i) => {
      const start = Math.floor(i / width) * width;
      const mean = x.data.slice(start, start + width).reduce((sum, p, k) => sum + p * dy.data[start + k]!, 0);
      return value * (dy.data[i]! - mean);
    });
    for (const bits of [4, 16]) {
      const packed = codesOf(await runOn('wasm', 'QuantizeRows', { x }, { bits, group: width, seed: 0 }));
      for (const { data } of await everywhere('SoftmaxGradRows', { codes: packed, dy }, { bits, group: width })) {
        expect(distance(data, exact)).toBeLessThan(bits === 16 ? 1e-4 : 0.1);
        for (let r = 0; r < rows; r++) {
          const row = Array.from(data).slice(r * width, (r + 1) * width);
          expect(Math.abs(row.reduce((sum, value) => sum + value, 0))).toBeLessThan(1e-6);
        }
      }
    }
  });

  it.each([true, false])('give the gradient of layer norm (centered: %s), with a scale and without', async (centered) => {
    const x = random([rows, width], 4);
    const scale = random([width], 6);
    const statistics = Array.from({ length: rows }, (_, r) => {
      const row = x.data.slice(r * width, (r + 1) * width);
      const mean = centered ? row.reduce((sum, value) => sum + value, 0) / width : 0;
      return { mean, rstd: 1 / Math.sqrt(row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width) };
    });
    for (const gains of [undefined, scale])
      for (const bits of [4, 16]) {
        const exact = x.data.map((value, i) => {
          const r = Math.floor(i / width);
          const { mean, rstd } = statistics[r]!;
          const g = Array.from({ length: width }, (_, k) => dy.data[r * width + k]! * (gains ? gains.data[k]! : 1));
          const z = x.data.slice(r * width, (r + 1) * width).map((v) => (v - mean) * rstd);
          const [sum, product] = [g.reduce((a, b) => a + b, 0) / width, g.reduce((a, b, k) => a + b * z[k]!, 0) / width];
          return rstd * (g[i % width]! - (centered ? sum : 0) - (value - mean) * rstd * product);
        });
        const packed = codesOf(await runOn('wasm', 'QuantizeRows', { x }, { bits, group: width, seed: 0 }));
        const column = (name: 'mean' | 'rstd'): Values => ({ shape: [rows], data: statistics.map((s) => s[name]) });
        const inputs = {
          codes: packed,
          dy,
          rstd: column('rstd'),
          ...(centered && { mean: column('mean') }),
          ...(gains && { scale: gains }),
        };
        for (const { data } of await everywhere('NormGradRows', inputs, { bits, group: width }))
          expect(distance(data, exact)).toBeLessThan(bits === 16 ? 1e-4 : 0.1);
      }
  });
});

describe('the place of the largest in its window', () => {
  it.each([
    [[2, 6, 6, 3], 2, 2, 'valid'],
    [[1, 7, 5, 5], 3, 2, 'same'],
    [[2, 5, 5, 1], [1, 3], 1, 'same'],
    [[1, 9, 9, 2], 5, 3, 'valid'],
    [[1, 4, 4, 33], 3, 1, 'same'],
    [
      [1, 7, 7, 2],
      3,
      2,
      [
        [0, 0],
        [1, 1],
        [1, 1],
        [0, 0],
      ],
    ],
  ] as const)(
    'leads dy of %j with a window of %j, strides %d and padding %j where MaxPoolGrad leads it',
    async (shape, filterSize, strides, pad) => {
      for (const make of [random, whole]) {
        const x = make([...shape]);
        const attrs = { filterSize, strides, pad };
        const y = await runOn('cpu', 'MaxPool', { x }, attrs);
        const dy = random(y.shape, 9);
        const taps = [filterSize].flat().reduce<number>((n, side, _, all) => n * side * (all.length === 1 ? side : 1), 1);
        const bits = taps <= 4 ? 2 : taps <= 16 ? 4 : 8;
        const expected = await runOn('cpu', 'MaxPoolGrad', { dy, input: x, output: { shape: y.shape, data: Array.from(y.data) } }, attrs);
        for (const backend of backends) {
          const packed = await runOn(backend, 'MaxPoolIndex', { x }, { ...attrs, bits });
          expect(packed.shape).toEqual([Math.ceil((dy.data.length * bits) / 32)]);
          const dx = await runOn(backend, 'MaxPoolIndexGrad', { codes: codesOf(packed), dy }, { ...attrs, bits, inputShape: [...shape] });
          expect(distance(dx.data, expected.data)).toBeLessThan(1e-6);
        }
      }
    },
  );
});

describe.runIf(backends.includes('tensorflow'))('ops of our own on tensorflow', () => {
  it('are there', () => expect(hasOwn).toBe(true));

  it('leave kernels to TensorFlow whose ops an older addon lacks', () => {
    const kernels = (names: readonly string[]) => Object.keys(registered(ownCodes, new Set(names)));
    expect(kernels([])).toEqual([]);
    expect(kernels(['EncodeSteps', 'DecodeSteps'])).toEqual(['EncodeSteps']); // a decoder multiplies by another op
    expect(kernels(['DecodeSteps', 'TimesSteps'])).toEqual(['DecodeSteps']);
  });

  /** Slopes that rise and fall have several intervals for a code. */
  const manyBorders = Array.from({ length: 700 }, (_, i) => (i - 350) / 256);
  const all: readonly (readonly [kernel: string, inputs: { [name: string]: Values }, attrs: Attrs])[] = [
    ...[1, 2, 4, 8].flatMap((bits) => [1, 31, 64, 5003].map((n) => ['EncodeSteps', { x: random([n], n) }, steps(bits)] as const)),
    ['EncodeSteps', { x: random([5003], 1) }, { borders: manyBorders, codes: [...manyBorders.map((_, i) => i % 256), 7], bits: 8 }],
    ...[1, 2, 4, 8, 16].flatMap((bits) =>
      [
        [1, 1],
        [70, 70],
        [5003, 129],
        [4096, 64],
      ].map(([n, group]) => ['QuantizeRows', { x: random([n!], n!) }, { bits, group, seed: 0 }] as const),
    ),
    ['MaxPoolIndex', { x: random([3, 9, 7, 70], 5) }, { filterSize: 3, strides: 2, pad: 'same', bits: 4 }],
  ];
  it.each(all)('%s gives the words of cpu, and of TensorFlow’s own ops', async (kernel, inputs, attrs) => {
    const reference = Array.from((await runOn('cpu', kernel, inputs, attrs)).data);
    expect(Array.from((await runOn('tensorflow', kernel, inputs, attrs)).data)).toEqual(reference);
    tf.tidy(() => {
      const [[name, x]] = Object.entries(inputs) as [[string, Values]];
      const info = composed[kernel]!({ [name]: tf.tensor(x.data, x.shape) }, attrs, tf.backend() as unknown as TensorflowBackend);
      expect(
        Array.from(
          tf
            .engine()
            .makeTensorFromTensorInfo(info as tf.TensorInfo)
            .dataSync(),
        ),
      ).toEqual(reference);
    });
  });

  it('find the moments of rows', async () => {
    const [rows, width, epsilon] = [7, 83, 1e-5];
    const x = random([rows, width], 3);
    for (const centered of [true, false]) {
      const { data } = await runOn('tensorflow', 'RowMoments', { x }, { epsilon, centered });
      const [mean, rstd] = [Array.from(data).slice(0, -rows), Array.from(data).slice(-rows)];
      const row = (r: number) => x.data.slice(r * width, (r + 1) * width);
      const means = Array.from({ length: rows }, (_, r) => row(r).reduce((sum, v) => sum + v, 0) / width);
      const inverse = means.map(
        (m, r) => 1 / Math.sqrt(row(r).reduce((sum, v) => sum + (v - (centered ? m : 0)) ** 2, 0) / width + epsilon),
      );
      if (centered) expect(distance(mean, means)).toBeLessThan(1e-6);
      else expect(mean).toEqual([]);
      expect(distance(rstd, inverse)).toBeLessThan(1e-6);
    }
  });

  it.each([
    [5, true],
    [200, false],
  ])('sum the gradients of a norm of %d rows (centered: %s) over its rows', async (rows, centered) => {
    const [width, bits] = [83, 4];
    const [x, dy] = [random([rows, width], 3), random([rows, width], 4)];
    const [mean, rstd] = [random([rows], 5), random([rows], 6)];
    const codes = codesOf(await runOn('cpu', 'QuantizeRows', { x }, { bits, group: width, seed: 0 }));
    const back = (await runOn('cpu', 'DequantizeRows', { codes }, { bits, group: width, shape: [rows, width] })).data;
    const sums = [new Array<number>(width).fill(0), new Array<number>(width).fill(0)] as const;
    dy.data.forEach((given, i) => {
      const r = Math.floor(i / width);
      sums[0][i % width]! += given * ((back[i] as number) - (centered ? mean.data[r]! : 0)) * rstd.data[r]!;
      sums[1][i % width]! += given;
    });
    await tf.setBackend('tensorflow');
    tf.tidy(() => {
      const tensor = ({ data, shape, dtype }: Values) => tf.tensor(data, shape, dtype ?? 'float32');
      const given = { codes: tensor(codes), dy: tensor(dy), rstd: tensor(rstd), ...(centered && { mean: tensor(mean) }) };
      const made = tf.engine().runKernel('NormScaleGradRows', given, { bits, group: width }) as unknown as tf.Tensor[];
      made.forEach((of, i) => expect(distance(of.dataSync(), sums[i]!)).toBeLessThan(2e-6));
    });
  });

  it('refuse codes that do not fit', async () => {
    const codes: Values = { shape: [3], data: [0, 0, 0], dtype: 'int32' };
    await expect(runOn('tensorflow', 'DequantizeRows', { codes }, { bits: 4, group: 8, shape: [8] })).rejects.toThrow(
      '3 words of codes; expected 2',
    );
    const dy = random([100]);
    await expect(runOn('tensorflow', 'DecodeSteps', { codes, dy }, { levels: [0, 1], bits: 1, shape: [100] })).rejects.toThrow(
      'expected 4',
    );
  });
});
