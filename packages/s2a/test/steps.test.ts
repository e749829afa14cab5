import { describe, expect, test } from 'vitest';
import { type Activation, derivatives } from '../src/derivatives.ts';
import { fitSteps, type Steps, type Weight } from '../src/steps.ts';

const normal: Weight = (x) => Math.exp((-x * x) / 2) / Math.sqrt(2 * Math.PI) + 1e-12;
const uniform: Weight = () => 1;

/** √(E (f' − q)² / E f'²) over [−12, 12], in percent. */
function error(derivative: (x: number) => number, { borders, codes, levels }: Steps, weight: Weight): number {
  let [off, all] = [0, 0];
  for (let i = 0; i <= 6000; i++) {
    const x = -12 + (i + 0.5) / 250;
    const q = levels[codes[borders.filter((border) => x > border).length]!]!;
    off += weight(x) * (derivative(x) - q) ** 2;
    all += weight(x) * derivative(x) ** 2;
  }
  return 100 * Math.sqrt(off / all);
}

const names = Object.keys(derivatives) as Activation[];

test.each([
  ['gelu', (x: number) => x * cdf(x)],
  ['geluTanh', (x: number) => (x / 2) * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))],
  ['silu', (x: number) => x / (1 + Math.exp(-x))],
  ['mish', (x: number) => x * Math.tanh(Math.log1p(Math.exp(x)))],
  ['hardSwish', (x: number) => (x * Math.min(Math.max(x + 3, 0), 6)) / 6],
  ['elu', (x: number) => (x > 0 ? x : Math.expm1(x))],
  ['selu', (x: number) => 1.0507009873554805 * (x > 0 ? x : 1.6732632423543772 * Math.expm1(x))],
  ['softplus', (x: number) => Math.log1p(Math.exp(x))],
  ['sigmoid', (x: number) => 1 / (1 + Math.exp(-x))],
  ['tanh', (x: number) => Math.tanh(x)],
] as const)('the derivative of %s agrees with finite differences of its function in float64', (name, f) => {
  for (const x of [-5.2, -2.3, -0.7, 0.4, 1.9, 4.8]) expect(derivatives[name](x)).toBeCloseTo((f(x + 1e-5) - f(x - 1e-5)) / 2e-5, 5);
});

/** Φ by the series of erf. */
function cdf(x: number): number {
  const z = x / Math.SQRT2;
  let [term, sum] = [z, z];
  for (let n = 1; Math.abs(term) > 1e-18; n++) {
    term *= (2 * z * z) / (2 * n + 1);
    sum += term;
  }
  return 0.5 + Math.exp(-z * z) * (sum / Math.sqrt(Math.PI));
}

describe('tables of 4 bits', () => {
  // The figures of an exhaustive search on a grid of 6e-3, each rounded to two decimals; ours is one of 24e-3.
  const rounded = 0.016;
  test.each([
    ['gelu', 3.59, 1.61, 3.18, 1.32],
    ['silu', 3.54, 1.93, 3.54, 1.63],
    ['sigmoid', 2.78, 6.91, 1.48, 3.59],
    ['tanh', 4.83, 6.98, 2.54, 3.61],
    ['hardSwish', 5.59, 2.86, 4.99, 2.53],
  ] as const)('of %s, fitted to normal and to uniform x, are as near as the optimum', (name, ...given) => {
    const figures = given.map(Number);
    const found = (['interval', 'value'] as const).flatMap((reading) =>
      [normal, uniform].map((weight) => error(derivatives[name], fitSteps(derivatives[name], 4, reading, weight), weight)),
    );
    found.forEach((value, i) => expect(value).toBeLessThanOrEqual(figures[i]! + rounded));
  });

  test.each(names)('of %s by default are within 5 % of the derivative for normal x, and no worse by value than by interval', (name) => {
    const [value, interval] = (['value', 'interval'] as const).map((reading) =>
      error(derivatives[name], fitSteps(derivatives[name], 4, reading), normal),
    );
    expect(value).toBeLessThanOrEqual(5);
    expect(value!).toBeLessThanOrEqual(interval! + 0.005);
  });

  test.each(names)('of %s stay right far out', (name) => {
    const { borders, codes, levels } = fitSteps(derivatives[name], 4);
    for (const x of [-100, -11, 11, 100]) {
      const q = levels[codes[borders.filter((border) => x > border).length]!]!;
      expect(Math.abs(q - derivatives[name](x))).toBeLessThan(0.05);
    }
  });
});

test.each(names)('tables of 8 bits for %s give each interval the level nearest at its middle, or a neighbour', (name) => {
  const { borders, codes, levels } = fitSteps(derivatives[name], 8);
  const sorted = [...levels].sort((a, b) => a - b);
  const rank = (level: number) => sorted.indexOf(level);
  borders.slice(1).forEach((border, i) => {
    const slope = derivatives[name]((borders[i]! + border) / 2);
    const nearest = sorted.reduce((best, level) => (Math.abs(level - slope) < Math.abs(best - slope) ? level : best));
    expect(Math.abs(rank(levels[codes[i + 1]!]!) - rank(nearest)), `from ${borders[i]} to ${border}`).toBeLessThanOrEqual(1);
  });
});

test.each(names)('tables of 8 bits for %s are within 0.6 %', (name) => {
  expect(error(derivatives[name], fitSteps(derivatives[name], 8), normal)).toBeLessThan(0.6);
});
