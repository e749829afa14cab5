/** Half precision against IEEE 754 itself: every rounding is worked out here from the bits of float32. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import {
  conv2dHalf,
  conv2dHalfFilterGradient,
  conv2dHalfInputGradient,
  decodeHalf,
  encodeHalf,
  makeCarrier,
  matMulHalf,
  readCarrier,
} from '../../src/tensorflow/index.ts';
import { distance, random } from '../compare.ts';

/** Of `x` in a binary format of `bits` bits of precision and exponents from `least`: to nearest, ties to even. */
function rounded(x: number, bits: number, least: number, largest: number): number {
  if (x === 0 || !Number.isFinite(x)) return x;
  const exponent = Math.max(least, Math.floor(Math.log2(Math.abs(x))));
  const unit = 2 ** (exponent - bits + 1);
  const scaled = Math.abs(x) / unit;
  const below = Math.floor(scaled);
  const up = scaled - below > 0.5 || (scaled - below === 0.5 && below % 2 !== 0);
  const value = (below + Number(up)) * unit * Math.sign(x);
  return Math.abs(value) > largest ? Math.sign(value) * Infinity : value;
}
const toFloat16 = (x: number): number => rounded(x, 11, -14, 65504);
const toBfloat16 = (x: number): number => rounded(x, 8, -126, 3.4e38);

const awkward = [
  0,
  -0,
  1,
  -1,
  1 / 3,
  0.1,
  2049,
  2051,
  65504,
  65519,
  65520,
  -1e6,
  6e-8,
  2e-8,
  6.1e-5,
  1e-6,
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
  Infinity,
];
const values = (...shape: number[]): tf.Tensor => tf.tensor(random(shape, shape.length).data, shape);

await describeOn('tensorflow', () => {
  let before: { tensors: number; ids: number };
  beforeEach(async () => {
    await useBackend('tensorflow');
    before = { tensors: tf.memory().numTensors, ids: handles() };
  });
  afterEach(() => {
    tf.disposeVariables();
    expect({ tensors: tf.memory().numTensors, ids: handles() }).toEqual(before);
  });
  const handles = (): number => (tf.backend() as unknown as { binding: { getNumOfTensors(): number } }).binding.getNumOfTensors();

  describe('storage', () => {
    test.each([
      ['float16', toFloat16],
      ['bfloat16', toBfloat16],
    ] as const)('%s rounds to nearest, ties to even, and weighs two bytes a value', (half, expected) => {
      const floats = Float32Array.from([...awkward, ...random([200]).data.map((x, i) => x * 2 ** ((i % 40) - 24))]);
      const [bytes, got] = tf.tidy(() => {
        const held = tf.memory().numBytes;
        const kept = encodeHalf(tf.tensor(floats), half);
        return [tf.memory().numBytes - held - floats.byteLength, decodeHalf(kept, half).dataSync()];
      });
      expect(bytes).toBe(2 * floats.length);
      expect([...got]).toEqual([...floats].map(expected));
    });

    test('a carrier is read and made again byte for byte', () => {
      tf.tidy(() => {
        const kept = encodeHalf(tf.tensor([1, -2, 0.5]));
        expect(kept.shape).toEqual([3, 2]);
        const bytes = readCarrier(kept);
        expect([...new Uint16Array(bytes.buffer)]).toEqual([0x3c00, 0xc000, 0x3800]);
        expect([...decodeHalf(makeCarrier(bytes, [3, 2])).dataSync()]).toEqual([1, -2, 0.5]);
      });
    });

    test('what is no carrier is refused, and nothing stays behind', () => {
      const x = tf.ones([2, 2]);
      expect(() => decodeHalf(x)).toThrow(/\[decodeHalf\] got a float32 tensor of shape \[2,2\]; expected what the encoder/);
      x.dispose();
    });
  });

  describe('products', () => {
    test.each([
      [false, false],
      [true, false],
      [false, true],
      [true, true],
    ])('of small whole numbers are exact (transposeA %s, transposeB %s)', (transposeA, transposeB) => {
      tf.tidy(() => {
        const a = tf.range(0, 24).reshape(transposeA ? [2, 4, 3] : [2, 3, 4]);
        const b = tf.range(-10, 10).reshape(transposeB ? [5, 4] : [4, 5]);
        const expected = tf.matMul(a, tf.stack([b, b]), transposeA, transposeB).dataSync();
        expect(matMulHalf(a, b, { transposeA, transposeB }).dataSync()).toEqual(expected);
      });
    });

    test.each([
      ['float16', 2 ** -9],
      ['bfloat16', 2 ** -6],
    ] as const)('in %s lie within the rounding of operands and result, also from carriers', (half, bound) => {
      tf.tidy(() => {
        const [a, b] = [values(16, 64), values(64, 8)];
        const expected = tf.matMul(a as tf.Tensor2D, b as tf.Tensor2D).dataSync();
        const direct = matMulHalf(a, b, { half }).dataSync();
        expect(distance(direct, expected)).toBeLessThan(bound);
        expect(distance(direct, expected)).toBeGreaterThan(bound / 2 ** 8); // it is computed in half precision
        expect(matMulHalf(a, encodeHalf(b, half), { half }).dataSync()).toEqual(direct);
      });
    });
  });

  describe.each([
    ['same', 2],
    ['valid', 1],
    [1, 2],
    [
      [
        [0, 0],
        [2, 0],
        [1, 3],
        [0, 0],
      ],
      1,
    ],
  ] as [tf.backend_util.ExplicitPadding | 'same' | 'valid' | number, number][])(
    'convolutions with padding %j and stride %d',
    (pad, strides) => {
      test.each([
        ['float16', 2 ** -8],
        ['bfloat16', 2 ** -5],
      ] as const)('and their gradients in %s are those of float32 within its rounding', async (half, bound) => {
        const [x, w] = [values(2, 7, 6, 5), values(3, 3, 5, 4)] as [tf.Tensor4D, tf.Tensor4D];
        await tf.setBackend('cpu');
        const run = (x: tf.Tensor4D, w: tf.Tensor4D): tf.Tensor => tf.conv2d(x, w, strides, pad as 'same');
        const y = run(x, w);
        const dy = tf.tensor(random(y.shape, 9).data, y.shape);
        const [dx, dw] = tf.grads(run as (...xs: tf.Tensor[]) => tf.Tensor)([x, w], dy);
        await tf.setBackend('tensorflow');
        const options = { strides, pad, half };
        const kept = encodeHalf(x, half);
        const got = [
          conv2dHalf(x, w, options),
          conv2dHalfInputGradient(x.shape, dy, w, options),
          conv2dHalfFilterGradient(kept, dy, w.shape, options),
        ];
        for (const [i, expected] of [y, dx!, dw!].entries()) {
          expect(got[i]!.shape).toEqual(expected.shape);
          expect(distance(got[i]!.dataSync(), expected.dataSync())).toBeLessThan(bound);
        }
        tf.disposeVariables();
        tf.dispose([x, w, y, dy, dx!, dw!, kept, got]);
      });
    },
  );
});
