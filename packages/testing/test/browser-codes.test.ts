/** Codes in words of 24 bits, on webgl in a real browser, against those of cpu. */
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundleForPage, type ChromiumPage, openPage } from '../browser/chromium.ts';
import type { CodeCalls, Outcome, Run } from '../browser/codes-page.ts';
import { describeInChromium } from '../browser/describe.ts';

declare const leantune: CodeCalls; // in the page

let chromium: ChromiumPage;

const wave = (n: number, seed: number): number[] => Array.from({ length: n }, (_, i) => 2 * Math.sin(0.7 * i * seed + seed));
const vector = (n: number, seed: number) => ({ shape: [n], data: wave(n, seed) });
const matrix = (rows: number, width: number, seed: number) => ({ shape: [rows, width], data: wave(rows * width, seed) });
const distance = (a: readonly number[], b: readonly number[]): number =>
  Math.max(...a.map((value, i) => Math.abs(value - b[i]!))) / Math.max(...b.map(Math.abs));

/** The same on both; bytes are those of 24-bit words, and nothing stays behind. */
async function compare(encode: Run, decode: Run, words: number, tolerance: number): Promise<void> {
  const on = (backend: 'cpu' | 'webgl'): Promise<Outcome> =>
    chromium.page.evaluate((args) => leantune.roundTrip(...args), [backend, encode, decode] as const);
  const [webgl, cpu] = [await on('webgl'), await on('cpu')];
  expect(webgl.words).toBe(words);
  expect(webgl.plain).toBe(true);
  expect(webgl.leaked).toBe(0);
  expect(distance(webgl.data, cpu.data)).toBeLessThanOrEqual(tolerance);
}

describeInChromium('codes on webgl', () => {
  beforeAll(async () => {
    chromium = await openPage([{ text: await bundleForPage(join(import.meta.dirname, '../browser/codes-page.ts')), module: true }]);
  }, 120_000);
  afterAll(() => chromium[Symbol.asyncDispose]());

  test.each([1, 2, 4, 8].flatMap((bits) => [1, 7, 24, 25, 1003].map((n) => [bits, n] as const)))(
    'steps of %d bits are exact for %d values, with dy and without',
    { timeout: 60_000 },
    async (bits, n) => {
      const borders = Array.from({ length: 2 ** Math.min(bits, 4) - 1 }, (_, i, { length } = { length: 15 }) => (i - length / 2) / 4);
      const encode = {
        kernel: 'EncodeSteps',
        inputs: { x: vector(n, 1) },
        attrs: { borders, codes: [...borders.keys(), borders.length], bits },
      };
      const levels = Array.from({ length: 2 ** bits }, (_, i) => i / 8 - 1);
      for (const inputs of [{}, { dy: vector(n, 2) }])
        await compare(encode, { kernel: 'DecodeSteps', inputs, attrs: { levels, bits, shape: [n] } }, Math.ceil(n / (24 / bits)), 0);
    },
  );

  // cpu rounds bounds to bfloat16, webgl does not: they differ by a step of both.
  test.each([1, 2, 4, 8, 16].flatMap((bits) => [[5, 5] as const, [1000, 256] as const].map((size) => [bits, ...size] as const)))(
    'rows of %d bits come back, %d values by %d',
    { timeout: 60_000 },
    async (bits, n, group) => {
      const encode = { kernel: 'QuantizeRows', inputs: { x: vector(n, 3) }, attrs: { bits, group, seed: 0 } };
      const decode = { kernel: 'DequantizeRows', inputs: {}, attrs: { bits, group, shape: [n] } };
      const each = (width: number) => (width > 0 ? 2 + Math.ceil(width / Math.floor(24 / bits)) : 0);
      await compare(encode, decode, Math.floor(n / group) * each(group) + each(n % group), 2 / (2 ** bits - 1) + 0.01);
    },
  );

  test.each(['SoftmaxGradRows', 'NormGradRows'])('%s reads rows, of 16 bits as near as cpu', { timeout: 60_000 }, async (kernel) => {
    const [rows, width, bits] = [6, 37, 16];
    const x = { shape: [rows, width], data: wave(rows * width, 5).map((v) => v + 2.5) };
    const statistics = { mean: vector(rows, 6), rstd: { shape: [rows], data: wave(rows, 7).map((v) => v + 3) }, scale: vector(width, 8) };
    const inputs = { dy: matrix(rows, width, 9), ...(kernel === 'NormGradRows' && statistics) };
    const encode = { kernel: 'QuantizeRows', inputs: { x }, attrs: { bits, group: width, seed: 0 } };
    await compare(encode, { kernel, inputs, attrs: { bits, group: width } }, rows * (2 + width), 1e-3);
  });

  test.each([
    [[2, 6, 6, 3], 2, 2, 'valid'],
    [[1, 7, 5, 5], 3, 2, 'same'],
  ] as const)('max pooling of %j leads dy as on cpu', { timeout: 60_000 }, async (shape, filterSize, strides, pad) => {
    const bits = filterSize === 2 ? 2 : 4;
    const n = (shape as readonly number[]).reduce((product, d) => product * d, 1);
    const attrs = { filterSize, strides, pad, bits, inputShape: [...shape] };
    const side = (d: number) => (pad === 'valid' ? Math.floor((d - filterSize) / strides) + 1 : Math.ceil(d / strides));
    const out = [shape[0], side(shape[1]), side(shape[2]), shape[3]];
    const outN = out.reduce((product, d) => product * d, 1);
    const encode = { kernel: 'MaxPoolIndex', inputs: { x: { shape: [...shape], data: wave(n, 4) } }, attrs };
    const decode = { kernel: 'MaxPoolIndexGrad', inputs: { dy: { shape: out, data: wave(outN, 2) } }, attrs };
    await compare(encode, decode, Math.ceil(outN / (24 / bits)), 1e-6);
  });

  // A texture holds no subnormal float32, of which half of bfloat16's are: they come back as zero.
  test.each([
    ['float16', 2 ** -24],
    ['bfloat16', 2 ** -126],
  ] as const)('%s holds every value, two in a texel, as on cpu', { timeout: 60_000 }, async (half, least) => {
    const held = (bits: number): number => {
      const [digits, bias] = half === 'float16' ? [10, 15] : [7, 127];
      const [exponent, mantissa] = [(bits & 0x7fff) >> digits, (bits & (2 ** digits - 1)) / 2 ** digits];
      const size =
        exponent === 2 * bias + 1 ? (mantissa ? Number.NaN : Infinity) : (exponent ? 1 + mantissa : 2 * mantissa) * 2 ** (exponent - bias);
      return bits & 0x8000 ? -size : size;
    };
    const all = Array.from({ length: 65_536 }, (_, bits) => held(bits)).filter((value) => !(Math.abs(value) < least) || value === 0);
    // each value beside itself, beside its neighbour of another rank, and between two halves
    const between = all.slice(1).flatMap((value, i) => (Number.isFinite(value + all[i]!) ? [(value + all[i]!) / 2] : []));
    const x = [
      ...all,
      ...all.flatMap((value, i) => [value, all[(i * 257) % all.length]!]),
      ...between.filter((value) => Math.abs(value) >= least),
    ];
    const encode = { kernel: 'EncodeHalf', inputs: { x: { shape: [x.length], data: x } }, attrs: { half } };
    const decode = { kernel: 'DecodeHalf', inputs: {}, attrs: { half, shape: [x.length] } };
    const on = (backend: 'cpu' | 'webgl'): Promise<Outcome> =>
      chromium.page.evaluate((args) => leantune.roundTrip(...args), [backend, encode, decode] as const);
    const [webgl, cpu] = [await on('webgl'), await on('cpu')];
    expect(webgl.words).toBe(Math.ceil(x.length / 2));
    expect(webgl.plain).toBe(true);
    expect(webgl.leaked).toBe(0);
    const wrong = x.flatMap((value, i) => (Object.is(webgl.data[i], cpu.data[i]) ? [] : [[value, webgl.data[i], cpu.data[i]]]));
    expect(wrong.slice(0, 5)).toEqual([]);
  });
});
