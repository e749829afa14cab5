/** Halves on webgpu: every rounding against IEEE 754 worked out from bits, products by every plan against float64. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import { matrixUnits } from '../../src/webgpu/halves/half-units.ts';
import {
  conv2dHalf,
  conv2dHalfFilterGradient,
  conv2dHalfInputGradient,
  decodeHalf,
  encodeHalf,
  halfUnits,
  matMulHalf,
  type WebGPUBackend,
} from '../../src/webgpu/index.ts';
import { matMul } from '../../src/webgpu/products/mat-mul.ts';
import { matrixPlan, type Plan, type Tiles } from '../../src/webgpu/products/plan.ts';
import { distance, random } from '../compare.ts';

/** The value of 16 bits with that many of exponent: its definition. */
function halfValue(bits: number, exponents: number): number {
  const digits = 15 - exponents;
  const [exponent, fraction] = [(bits >> digits) & (2 ** exponents - 1), (bits & (2 ** digits - 1)) / 2 ** digits];
  const bias = 2 ** (exponents - 1) - 1;
  const size =
    exponent === 2 ** exponents - 1
      ? fraction > 0
        ? Number.NaN
        : Number.POSITIVE_INFINITY
      : exponent === 0
        ? fraction * 2 ** (1 - bias)
        : (1 + fraction) * 2 ** (exponent - bias);
  return bits >> 15 ? -size : size;
}

/** To nearest, ties to even: by search among the finite halves above zero, which rise with their bits. */
function nearest(x: number, exponents: number): number {
  if (Number.isNaN(x)) return Number.NaN;
  const infinite = (2 ** exponents - 1) << (15 - exponents);
  let [low, high] = [0, infinite];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (halfValue(middle, exponents) <= Math.abs(x)) low = middle;
    else high = middle;
  }
  if (Math.abs(x) === Number.POSITIVE_INFINITY) return x;
  const below = halfValue(low, exponents);
  const step = below - halfValue(low - 1, exponents);
  const above = high === infinite ? below + step : halfValue(high, exponents); // the next, were there more exponents
  const up = Math.abs(x) - below > above - Math.abs(x) || (Math.abs(x) - below === above - Math.abs(x) && low % 2 === 1);
  return Math.sign(x) * halfValue(up ? high : low, exponents);
}

const types = [
  ['float16', 5],
  ['bfloat16', 8],
] as const;
const values = (...shape: number[]): tf.Tensor => tf.tensor(random(shape, shape.length).data, shape);
const gpu = () => tf.backend() as WebGPUBackend;
const read = async (x: tf.Tensor): Promise<Float32Array> => {
  const data = (await x.data()) as Float32Array;
  x.dispose();
  return data;
};

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  describe('storage', () => {
    test.each(types)('every %s is decoded and encoded as it is', async (half, exponents) => {
      const all = Float32Array.from({ length: 2 ** 16 }, (_, bits) => halfValue(bits, exponents));
      const x = tf.tensor(all);
      const kept = encodeHalf(x, half);
      expect(kept.dtype).toBe('int32');
      const bits = new Uint16Array(((await kept.data()) as Int32Array).buffer.slice(0));
      const wrong = Array.from(bits).filter((got, i) => (Number.isNaN(all[i]) ? !Number.isNaN(halfValue(got, exponents)) : got !== i));
      expect(wrong).toEqual([]);
      expect(await read(decodeHalf(kept, half))).toEqual(all);
      tf.dispose([x, kept]);
    });

    test.each(types)('floats of any bits round to the nearest %s, ties to even', async (half, exponents) => {
      const words = new Uint32Array(20_001);
      let state = 7;
      for (let i = 0; i < words.length; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
        words[i] = i % 3 === 0 ? state : i % 3 === 1 ? (state & 0xbfffffff) | 0x30000000 : state & 0xffffe000 & ~(state & 0x1000);
      }
      const floats = Float32Array.from([
        ...new Float32Array(words.buffer),
        65519,
        65520,
        -65520,
        2 ** -25,
        3 * 2 ** -25,
        2 ** -24 - 2 ** -49,
      ]);
      const x = tf.tensor(floats);
      const kept = encodeHalf(x, half);
      expect(Array.from(await read(decodeHalf(kept, half)))).toEqual(Array.from(floats, (value) => nearest(value, exponents)));
      tf.dispose([x, kept]);
    });

    test('an odd shape weighs two bytes a value, is known through a clone, and needs its own type', async () => {
      const x = values(3, 5, 7);
      const kept = encodeHalf(x);
      expect(kept.size * 4).toBe(2 * (x.size + 1));
      const again = kept.clone();
      kept.dispose();
      const y = decodeHalf(again);
      expect(y.shape).toEqual([3, 5, 7]);
      expect(() => decodeHalf(x)).toThrow(
        '[decodeHalf] got a float32 tensor of shape [3,5,7]; expected what encodeHalf returned for float16.',
      );
      expect(() => matMulHalf(again, again, { half: 'bfloat16' })).toThrow('got a float16 tensor of shape [3,5,7]; expected float32, or');
      expect(() => encodeHalf(tf.tensor1d([1], 'int32'))).toThrow('[encodeHalf] got a int32 tensor of shape [1]; expected float32.');
      tf.dispose([x, again, y]);
    });
  });

  describe('products', () => {
    const transposes = [
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ] as const;
    test.each(types)('of %s are float64’s of the rounded operands, from carriers or not, in all transposes', async (half, exponents) => {
      for (const [transposeA, transposeB] of transposes)
        for (const [m, k, n] of [
          [9, 13, 7],
          [8, 16, 12],
        ] as const) {
          const [a, b] = [values(2, ...(transposeA ? [k, m] : [m, k])), values(...(transposeB ? [n, k] : [k, n]))];
          const [x, y] = [a, b].map((value) => Array.from(value.dataSync(), (v) => nearest(v, exponents))) as [number[], number[]];
          const wanted = Array.from({ length: 2 * m * n }, (_, at) => {
            const [z, r, c] = [Math.floor(at / (m * n)), Math.floor(at / n) % m, at % n];
            let sum = 0;
            for (let i = 0; i < k; i++)
              sum += x[z * m * k + (transposeA ? i * m + r : r * k + i)]! * y[transposeB ? c * k + i : i * n + c]!;
            return sum;
          });
          const [keptA, keptB] = [encodeHalf(a, half), encodeHalf(b, half)];
          const before = tf.memory().numTensors;
          for (const [left, right] of [
            [a, b],
            [keptA, keptB],
            [a, keptB],
          ] as const) {
            const got = matMulHalf(left, right, { transposeA, transposeB, half });
            expect(got.shape).toEqual([2, m, n]);
            expect(distance(await read(got), wanted)).toBeLessThan(1e-6);
          }
          expect(tf.memory().numTensors).toBe(before);
          tf.dispose([a, b, keptA, keptB]);
        }
    });

    const tiles: Tiles = { kind: 'tiles', m: 32, n: 32, k: 16, rows: 8, columns: 4 };
    /** By name a plan that this device can run, or why it cannot. */
    const plans: readonly [string, () => Plan | string][] = [
      ['tiles in float32', () => tiles],
      ['tiles in float16', () => (halfUnits(gpu()).f16 ? { ...tiles, half: true } : 'no shader-f16')],
      [
        'tensor cores',
        () => {
          const units = matrixUnits(gpu());
          return typeof units === 'string' ? units : { ...matrixPlan(32, 2, 2, units), k: 16 };
        },
      ],
    ];
    test.each(plans)('through %s, edges of every size', async (_, planOf) => {
      const plan = planOf();
      if (typeof plan === 'string') return console.warn(`skipped: ${plan}`);
      for (const [transposeA, transposeB] of transposes)
        for (const [m, k, n] of [
          [35, 37, 33],
          [40, 20, 36],
        ] as const) {
          const [a, b] = [values(...(transposeA ? [k, m] : [m, k])), values(...(transposeB ? [n, k] : [k, n]))];
          const [keptA, keptB] = [encodeHalf(a), encodeHalf(b)];
          const wanted = await read(matMulHalf(keptA, keptB, { transposeA, transposeB }));
          const views = [
            { ...keptA, shape: a.shape },
            { ...keptB, shape: b.shape },
          ] as unknown as [tf.TensorInfo, tf.TensorInfo];
          const got = matMul(gpu(), ...views, { transposeA, transposeB, plan });
          expect(distance(await read(tf.engine().makeTensorFromTensorInfo(got)), wanted)).toBeLessThan(1e-6);
          tf.dispose([a, b, keptA, keptB]);
        }
    });

    test.each(types)('conv2d in %s and its gradients are float32’s of rounded operands', async (half) => {
      const [x, filter, dy] = [values(2, 6, 5, 4), values(3, 3, 4, 8), values(2, 6, 5, 8)];
      const kept = [x, filter, dy].map((value) => encodeHalf(value, half)) as [tf.Tensor, tf.Tensor, tf.Tensor];
      const [rx, rf, rdy] = kept.map((value) => decodeHalf(value, half)) as [tf.Tensor4D, tf.Tensor4D, tf.Tensor4D];
      const { pad, ...options } = { pad: 'same' as const, half };
      const [dx, df] = tf.grads((x: tf.Tensor, f: tf.Tensor) => tf.conv2d(x as tf.Tensor4D, f as tf.Tensor4D, 1, pad))([rx, rf], rdy);
      const wanted = [tf.conv2d(rx, rf, 1, pad), dx!, df!];
      const got = [
        conv2dHalf(x, kept[1], { pad, ...options }),
        conv2dHalfInputGradient(x.shape, kept[2], filter, { pad, ...options }),
        conv2dHalfFilterGradient(kept[0], dy, filter.shape, { pad, ...options }),
      ];
      for (const [i, y] of got.entries()) expect(distance(await read(y), await read(wanted[i]!))).toBeLessThan(2e-6);
      tf.dispose([x, filter, dy, kept, rx, rf, rdy]);
    });
  });
});
