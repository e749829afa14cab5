import { beforeAll, describe, expect, it } from 'vitest';
import { expectLikeCpu, prepare, runOn, whole } from './compare.ts';

beforeAll(prepare);

/** A series of positive terms: exact to the last bits of a double for every x. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return Math.abs(x) > 6 ? Math.sign(x) : (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

/** The distance between neighbours of float32 at `value`. */
const lastPlace = (value: number): number => 2 ** Math.max(Math.floor(Math.log2(Math.abs(value))) - 23, -149);

const cases: [string, number, number, (x: number) => number][] = [
  ['Exp', -104, 88.7, Math.exp],
  ['Exp', -1, 1, Math.exp],
  ['Tanh', -10, 10, Math.tanh],
  ['Tanh', -0.7, 0.7, Math.tanh],
  ['Erf', -5, 5, erf],
  ['Erf', -1, 1, erf],
];

describe('exp, tanh and erf on wasm', () => {
  it.each(cases)('%s is within 1.5 units in the last place of the exact value, from %d to %d', async (kernel, low, high, exact) => {
    const n = 40_001;
    const data = Array.from({ length: n }, (_, i) => Math.fround(low + ((high - low) * i) / n));
    const y = await runOn('wasm', kernel, { x: { shape: [n], data } }, {});
    let worst = 0;
    for (const [i, x] of data.entries()) worst = Math.max(worst, Math.abs((y.data[i] as number) - exact(x)) / lastPlace(exact(x)));
    expect(worst).toBeLessThan(1.5);
  });

  it.each([
    ['Exp', [Number.NaN, Number.POSITIVE_INFINITY, 0, 1, 1, Number.POSITIVE_INFINITY, 0, 1]],
    ['Tanh', [Number.NaN, 1, -1, 0, -0, 1, -1, 2 ** -149]],
    ['Erf', [Number.NaN, 1, -1, 0, -0, 1, -1, 2 ** -149]],
  ])('%s has its limits, keeps NaN and the sign of zero, and takes subnormal numbers', async (kernel, expected) => {
    const data = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0, -0, 1000, -1000, 2 ** -149];
    const y = await runOn('wasm', kernel, { x: { shape: [8], data } }, {});
    expect(Array.from(y.data)).toEqual(expected.map(Math.fround));
  });

  it.each(['Exp', 'Tanh', 'Erf'])('%s gives the same wherever an element lies, and takes no elements', async (kernel) => {
    for (const n of [0, 1, 2, 3, 7]) {
      const y = await runOn('wasm', kernel, { x: { shape: [n], data: new Array<number>(n).fill(0.7) } }, {});
      expect(Array.from(y.data)).toEqual(new Array(n).fill((await runOn('wasm', kernel, { x: { shape: [], data: [0.7] } }, {})).data[0]));
    }
  });

  it('exp of int32 goes to tfjs', () => expectLikeCpu('Exp', { x: whole([9], 1, 'int32') }, {}));
});

describe('GELU on wasm', () => {
  it.each([false, true])('is x times the share of the distribution below it (by tanh: %s)', async (approximate) => {
    const n = 4001;
    const data = Array.from({ length: n }, (_, i) => Math.fround(-8 + (16 * i) / n));
    const share = (x: number) =>
      (1 + (approximate ? Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)) : erf(x * Math.SQRT1_2))) / 2;
    const y = await runOn('wasm', 'Gelu', { x: { shape: [n], data } }, { approximate });
    for (const [i, x] of data.entries()) expect(Math.abs((y.data[i] as number) - x * share(x))).toBeLessThan(1e-6);
  });

  it.each([false, true])('has the slope of that (by tanh: %s)', async (approximate) => {
    const n = 4003;
    const data = Array.from({ length: n }, (_, i) => Math.fround(-8 + (16 * i) / n));
    const share = (x: number) =>
      (1 + (approximate ? Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)) : erf(x * Math.SQRT1_2))) / 2;
    const slope = (x: number) => ((x + 1e-5) * share(x + 1e-5) - (x - 1e-5) * share(x - 1e-5)) / 2e-5; // in doubles: exact to 1e-9
    const dy = data.map((_, i) => Math.fround(Math.sin(i)));
    const dx = await runOn('wasm', 'GeluGrad', { x: { shape: [n], data }, dy: { shape: [n], data: dy } }, { approximate });
    // h rounds to 2⁻²⁴, and enters times 2 x u' at most
    const factor = (x: number) => 1 + 2 * Math.abs(x) * (approximate ? Math.sqrt(2 / Math.PI) * (1 + 0.134145 * x * x) : 1);
    for (const [i, x] of data.entries())
      expect(Math.abs((dx.data[i] as number) - dy[i]! * slope(x))).toBeLessThan(4 * 2 ** -24 * factor(x));
  });
});
