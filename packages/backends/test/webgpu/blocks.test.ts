/** The blocks of transformers that are kernels here, forward against their formulas in float64, gradients against central differences of those. */
import { describeOn } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, expect, test } from 'vitest';
import { useBackend } from '../../src/index.ts';
import type { WebGPUBackend } from '../../src/webgpu/index.ts';
import { rowPasses } from '../../src/webgpu/rows/rows.ts';

const values = (n: number, seed: number): number[] =>
  Array.from({ length: n }, (_, i) => Math.fround(Math.sin((i + 1) * (seed + 1.7)) * 2));
const run = async (kernel: string, inputs: { [name: string]: tf.Tensor }, attrs: object): Promise<number[][]> => {
  const before = tf.memory().numDataBuffers;
  const made = [tf.engine().runKernel(kernel, inputs, attrs as tf.NamedAttrMap) as tf.Tensor | tf.Tensor[]].flat();
  expect(tf.memory().numDataBuffers).toBe(before + made.length);
  const data = await Promise.all(made.map(async (y) => Array.from(await y.data())));
  tf.dispose(made);
  return data;
};
const close = (got: number[], expected: number[], within: number): void => {
  expect(got.length).toBe(expected.length);
  const scale = Math.max(1e-3, ...expected.map(Math.abs));
  expect(Math.max(...got.map((value, i) => Math.abs(value - expected[i]!))) / scale).toBeLessThanOrEqual(within);
};
const EPSILON = 1e-5;

/** One row after another. */
function layerNorm(x: number[], w: number[], b: number[]): number[] {
  const n = w.length;
  return x.map((_, at) => {
    const row = x.slice(at - (at % n), at - (at % n) + n);
    const mean = row.reduce((sum, v) => sum + v, 0) / n;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / n;
    return ((x[at]! - mean) / Math.sqrt(variance + EPSILON)) * w[at % n]! + b[at % n]!;
  });
}
/** d Σ dy · f(x) / dx */
const differences = (f: (x: number[]) => number[], x: number[], dy: number[]): number[] =>
  x.map((_, i) => {
    const at = (shift: number) => f(x.map((v, j) => (j === i ? v + shift : v))).reduce((sum, y, j) => sum + y * dy[j]!, 0);
    return (at(1e-5) - at(-1e-5)) / 2e-5;
  });

/** Abramowitz & Stegun's series 7.1.5, to the end of float64. */
function erf(x: number): number {
  let [term, sum] = [x, x];
  for (let n = 1; n < 200; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
}
const gelu = {
  exact: (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2)),
  tanh: (x: number): number => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
};

await describeOn('webgpu', () => {
  beforeAll(() => useBackend('webgpu').then(() => undefined));

  test.each([
    [5, 8],
    [3, 7],
    [130, 12],
    [1, 1],
  ])('layer norm of %i rows of %i', async (rows, n) => {
    const [x, w, b, dy] = [values(rows * n, 1), values(n, 2), values(n, 3), values(rows * n, 4)];
    const t = { x: tf.tensor(x, [rows, n]), weight: tf.tensor(w), bias: tf.tensor(b), dy: tf.tensor(dy, [rows, n]) };
    const [y] = await run('LayerNorm', { x: t.x, weight: t.weight, bias: t.bias }, { epsilon: EPSILON });
    close(y!, layerNorm(x, w, b), 1e-5);
    const expected = [
      n === 1 ? [0] : differences((v) => layerNorm(v, w, b), x, dy),
      differences((v) => layerNorm(x, v, b), w, dy),
      differences((v) => layerNorm(x, w, v), b, dy),
    ];
    const wanted = ['x', 'weight', 'bias'];
    const inputs = { x: t.x, weight: t.weight, dy: t.dy };
    const all = await run('LayerNormGrad', inputs, { epsilon: EPSILON, wanted });
    for (const [i, gradient] of all.entries()) close(gradient, expected[i]!, 2e-5);
    const again = await run('LayerNormGrad', inputs, { epsilon: EPSILON, wanted });
    expect(again).toEqual(all);
    const [weight] = await run('LayerNormGrad', { x: t.x, dy: t.dy }, { epsilon: EPSILON, wanted: ['weight'] });
    const [bias] = await run('LayerNormGrad', { dy: t.dy }, { epsilon: EPSILON, wanted: ['bias'] });
    const [dx] = await run('LayerNormGrad', inputs, { epsilon: EPSILON, wanted: ['x'] });
    expect([dx, weight, bias]).toEqual(all);
    tf.dispose(t);
  });

  test('rms norm and its gradients', async () => {
    const [rows, n] = [6, 10];
    const [x, w, dy] = [values(rows * n, 1), values(n, 2), values(rows * n, 4)];
    const rms = (x: number[], w: number[]): number[] =>
      x.map((v, at) => {
        const row = x.slice(at - (at % n), at - (at % n) + n);
        return (v * w[at % n]!) / Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / n + EPSILON);
      });
    const t = { x: tf.tensor(x, [2, 3, n]), weight: tf.tensor(w), dy: tf.tensor(dy, [2, 3, n]) };
    close((await run('RmsNorm', { x: t.x, weight: t.weight }, { epsilon: EPSILON }))[0]!, rms(x, w), 1e-5);
    const [dw, dx] = await run('RmsNormGrad', t, { epsilon: EPSILON, wanted: ['weight', 'x'] });
    close(
      dx!,
      differences((v) => rms(v, w), x, dy),
      2e-5,
    );
    close(
      dw!,
      differences((v) => rms(x, v), w, dy),
      2e-5,
    );
    tf.dispose(t);
  });

  test('rows by work group are those by thread', async () => {
    const [rows, n] = [9, 150];
    const x = tf.tensor(values(rows * n, 5), [rows, n]);
    const passes = {
      key: 'test',
      inputs: { x },
      shape: x.shape,
      sums: [
        { name: 'center', term: 'x[at]', value: 'sum / f32(u.columns)' },
        { name: 'spread', term: '(x[at] - center) * (x[at] - center)' },
      ],
      result: 'x[at] * spread',
      ofRow: 'vec2f(center, spread)',
    };
    const [few, many] = [false, true].map((together) => rowPasses(tf.backend() as WebGPUBackend, { ...passes, together }));
    for (const name of ['result', 'ofRow']) {
      const [a, b] = [few, many].map((made) => tf.engine().makeTensorFromTensorInfo(made![name]!));
      close(Array.from(await b!.data()), Array.from(await a!.data()), 1e-5);
      tf.dispose([a!, b!]);
    }
    x.dispose();
  });

  test.each(['exact', 'tanh'] as const)('gelu, %s, and its gradient', async (form) => {
    const x = [...values(61, 6), 0, -4, 4, 5.5, -5.5].map((v) => Math.fround(v));
    const dy = values(x.length, 7);
    const t = { x: tf.tensor(x), dy: tf.tensor(dy) };
    const attrs = { approximate: form === 'tanh', wanted: ['x'] };
    const [y] = await run('Gelu', { x: t.x }, attrs);
    close(y!, x.map(gelu[form]), 1e-6);
    const [dx] = await run('GeluGrad', t, attrs);
    const slope = (v: number): number => (gelu[form](v + 1e-5) - gelu[form](v - 1e-5)) / 2e-5;
    close(
      dx!,
      x.map((v, i) => dy[i]! * slope(v)),
      1e-5,
    );
    const far = tf.tensor([-1e4, 1e4, Number.NaN]);
    expect((await run('Gelu', { x: far }, attrs))[0]).toEqual([expect.closeTo(0), 1e4, Number.NaN]);
    tf.dispose([t.x, t.dy, far]);
  });

  test('of no rows', async () => {
    const [x, w] = [tf.zeros([0, 4]), tf.ones([4])];
    expect(await run('LayerNorm', { x, weight: w, bias: w }, { epsilon: EPSILON })).toEqual([[]]);
    const wanted = ['x', 'weight', 'bias'];
    expect(await run('LayerNormGrad', { x, weight: w, dy: x }, { epsilon: EPSILON, wanted })).toEqual([[], [0, 0, 0, 0], [0, 0, 0, 0]]);
    tf.dispose([x, w]);
  });
});
