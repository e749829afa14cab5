/** Casts to half precision and back, bit for bit, against float64 arithmetic (half-reference.ts), numpy and torch. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, it } from 'vitest';
import { useBackend } from '../src/index.ts';
import { decoded, formats, nearest } from './half-reference.ts';

const halves = Object.keys(formats) as (keyof typeof formats)[];
const backends = await available(['cpu', 'wasm', 'tensorflow', 'webgpu']);

/** Float32 of any bits: xorshift, the same on every machine. */
function randomBits(n: number, seed: number): Float32Array {
  let state = seed;
  return new Float32Array(
    Uint32Array.from({ length: n }, () => {
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
      return state >>> 0;
    }).buffer,
  );
}

/** Every half, and every tie and neighbour of a tie between two. */
function corners(half: keyof typeof formats): Float32Array {
  const all: number[] = [];
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  for (let i = 0; i < 65536; i++) {
    const [a, b] = [decoded(i, formats[half]), decoded((i + 1) & 0xffff, formats[half])];
    all.push(a);
    if (!Number.isFinite(a + b) || Math.sign(a) !== Math.sign(b || a)) continue;
    float[0] = (a + b) / 2;
    const middle = bits[0]!;
    for (const near of [middle - 1, middle, middle + 1]) {
      bits[0] = near;
      all.push(float[0]!);
    }
  }
  return Float32Array.from([...all, 65504, 65519.996, 65520, -65520, 1e-45, -1e-45, 2 ** -25, 2 ** -24, 3.4028235e38]);
}

const run = (kernel: string, inputs: tf.NamedTensorMap, attrs: object): tf.Tensor =>
  tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap);

/** A million floats of any bits and what they round to, worked out once for all backends. */
const millions = new Map<string, readonly [x: Float32Array, nearest: Float32Array]>();
function million(half: keyof typeof formats, part: number): readonly [Float32Array, Float32Array] {
  const key = `${half} ${part}`;
  const known = millions.get(key);
  if (known) return known;
  const x = randomBits(1_000_000, part + 1);
  const made = [x, x.map((value) => nearest(value, formats[half]))] as const;
  millions.set(key, made);
  return made;
}

interface Fault {
  readonly of: number;
  readonly got: number;
  readonly expected: number;
}

/** The first values that differ, the sign of zero included. NaN is NaN, whatever its bits. */
function faults(from: Float32Array, got: Float32Array, expected: Float32Array): Fault[] {
  const found: Fault[] = [];
  for (let i = 0; i < from.length && found.length < 5; i++) {
    const right = expected[i]!;
    if (!Object.is(got[i], right)) found.push({ of: from[i]!, got: got[i]!, expected: right });
  }
  return found;
}

/** What the kernels make of x: rounded, rounded in its own buffer, and stored and read again. */
function casts(x: Float32Array, half: string): readonly Float32Array[] {
  return tf.tidy(() => {
    const given = tf.tensor1d(x);
    const codes = run('EncodeHalf', { x: given }, { half });
    const results = [
      run('RoundHalf', { x: given }, { half }),
      run('DecodeHalf', { codes }, { half, shape: [x.length] }),
      run('RoundHalf', { x: tf.tensor1d(x.slice()) }, { half, inPlace: true }),
    ];
    return results.map((y) => y.dataSync() as Float32Array);
  });
}

describe.each(backends)('on %s', (backend) => {
  beforeAll(async () => {
    await useBackend(backend);
  });

  describe.each(halves)('%s', (half) => {
    it('holds its 65,536 values, ties and their neighbours as IEEE 754 rounds them', () => {
      const x = corners(half);
      const expected = x.map((value) => nearest(value, formats[half]));
      for (const y of casts(x, half)) expect(faults(x, y, expected)).toEqual([]);
    });

    it('rounds ten million floats of any bits to nearest, ties to even', { timeout: 120_000 }, () => {
      for (let part = 0; part < 10; part++) {
        const [x, expected] = million(half, part);
        for (const y of casts(x, half)) expect(faults(x, y, expected)).toEqual([]);
      }
    });

    it.each([0, 1, 2, 7, 8, 9, 15, 17])('stores %i values in two bytes each, and leaves nothing behind', (n) => {
      const { numTensors } = tf.memory();
      const x = tf.tensor1d(Float32Array.from({ length: n }, (_, i) => i + 0.1));
      const codes = run('EncodeHalf', { x }, { half });
      expect(codes.size * tf.util.bytesPerElement(codes.dtype)).toBeLessThanOrEqual(2 * n + 2);
      const y = run('DecodeHalf', { codes }, { half, shape: [1, n] });
      expect(y.shape).toEqual([1, n]);
      const values = x.dataSync() as Float32Array;
      const expected = values.map((value) => nearest(value, formats[half]));
      expect(faults(values, y.dataSync() as Float32Array, expected)).toEqual([]);
      tf.dispose([x, codes, y]);
      expect(tf.memory().numTensors).toBe(numTensors);
    });
  });
});

describe('the reference', () => {
  interface Fixture {
    readonly bits: readonly number[];
    readonly numpyFloat16: readonly number[];
    readonly torchFloat16: readonly number[];
    readonly torchBfloat16: readonly number[];
  }
  const fixture: Fixture = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/half.json'), 'utf8'));
  const x = new Float32Array(Uint32Array.from(fixture.bits).buffer);

  it.each([
    ['numpyFloat16', 'float16'],
    ['torchFloat16', 'float16'],
    ['torchBfloat16', 'bfloat16'],
  ] as const)('agrees with %s', (from, half) => {
    const theirs = Float32Array.from(fixture[from], (bits) => decoded(bits, formats[half]));
    const expected = x.map((value) => nearest(value, formats[half]));
    expect(faults(x, theirs, expected)).toEqual([]);
  });
});
