/** The truncated SVD against LAPACK (fixtures by fixtures/svd.py), its own definition, and closed forms. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { useBackend } from '@leantune/backends';
import { memoryFile } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { decompose, type Matrix, truncatedSvd } from '../src/low-rank/index.ts';
import { jacobiSvd } from '../src/low-rank/jacobi-svd.ts';
import { matrixFrom, multiply, transposed } from '../src/low-rank/matrix.ts';
import { orthonormalize } from '../src/low-rank/orthonormalize.ts';

interface Fixture {
  readonly shape: [number, number];
  readonly w: number[];
  readonly rank: number;
  readonly sigma: number[];
}

const fixtures = JSON.parse(readFileSync(join(import.meta.dirname, 'fixtures/svd.json'), 'utf8')) as { readonly [name: string]: Fixture };

/** max |aᵀ·a − 1| */
function skew(a: Matrix): number {
  const { data, columns } = multiply(transposed(a), a);
  return data.reduce((worst, x, i) => Math.max(worst, Math.abs(x - Number(i % (columns + 1) === 0))), 0);
}

const scaled = ({ rows, columns, data }: Matrix, sigma: Float64Array): Matrix => ({
  rows,
  columns,
  data: data.map((x, i) => x * sigma[i % columns]!),
});

beforeAll(async () => {
  await useBackend('wasm');
  await tf.setBackend('cpu');
});

describe.each(Object.entries(fixtures))('a matrix: %s', (name, { shape, w, rank, sigma }) => {
  const svd = () => tf.tidy(() => truncatedSvd(tf.tensor2d(w, shape), rank) as never) as ReturnType<typeof truncatedSvd>;

  test('has the singular values that LAPACK finds', () => {
    const found = svd();
    const bound = name === 'slow decay' ? 2e-2 : 1e-3; // power iterations tell close values apart slowly
    found.sigma.forEach((value, i) => void expect(Math.abs(value - sigma[i]!)).toBeLessThan(bound * sigma[0]! + 1e-12));
    if (rank + 10 >= Math.min(...shape))
      found.sigma.forEach((value, i) => void expect(Math.abs(value - sigma[i]!)).toBeLessThan(1e-12 * (1 + sigma[0]!)));
    expect(found.energy).toBeCloseTo(
      sigma.reduce((sum, x) => sum + x * x, 0),
      8,
    );
  });

  test('has orthonormal vectors, and is approximated as well as any of that rank', () => {
    const { u, sigma: found, v } = svd();
    expect(skew(u)).toBeLessThan(1e-12);
    expect(skew(v)).toBeLessThan(1e-12);
    const near = multiply(scaled(u, found), transposed(v));
    const error = Math.sqrt(near.data.reduce((sum, x, i) => sum + (x - w[i]!) ** 2, 0));
    const best = Math.sqrt(sigma.slice(rank).reduce((sum, x) => sum + x * x, 0));
    expect(error).toBeLessThanOrEqual(best * (1 + 5e-3) + 1e-12);
  });
});

test('a large matrix, whose products run on wasm, has orthonormal vectors, and w·v = u·σ to what float32 gives', async () => {
  await tf.setBackend('wasm');
  const w = tf.randomNormal([700, 500], 0, 1, 'float32', 1) as tf.Tensor2D;
  const { u, sigma, v } = truncatedSvd(w, 40, { iterations: 60 });
  expect(skew(u)).toBeLessThan(1e-12);
  expect(skew(v)).toBeLessThan(1e-12);
  const left = multiply(matrixFrom(700, 500, w.dataSync()), v);
  const right = scaled(u, sigma);
  const worst = (columns: number) =>
    left.data.reduce((most, x, i) => (i % 40 < columns ? Math.max(most, Math.abs(x - right.data[i]!)) : most), 0);
  expect(worst(20)).toBeLessThan(1e-4 * sigma[0]!); // the last ones of a spectrum this flat take more iterations
  w.dispose();
  await tf.setBackend('cpu');
});

test('the same seed gives the same bits, and nothing leaks', () => {
  const w = tf.randomNormal([30, 20], 0, 1, 'float32', 1) as tf.Tensor2D;
  expect(truncatedSvd(w, 4, { seed: 3 })).toEqual(truncatedSvd(w, 4, { seed: 3 }));
  expect(() => truncatedSvd(w, 4)).toLeakNothing();
  w.dispose();
});

test('ranks and weights that cannot be are refused', () => {
  const w = tf.tensor2d([[1, Number.NaN]]);
  expect(() => truncatedSvd(w, 2)).toThrow('[svd] got rank 2 for a matrix [1, 2]; expected a whole number from 1 to 1.');
  expect(() => truncatedSvd(w, 1)).toThrow('[svd] NaN or Inf in a matrix [1, 2].');
  w.dispose();
});

test('Jacobi rotations find the golden ratio in [[1, 1], [0, 1]]', () => {
  const { sigma } = jacobiSvd(matrixFrom(2, 2, [1, 1, 0, 1]));
  const golden = (1 + Math.sqrt(5)) / 2;
  expect(sigma[0]).toBeCloseTo(golden, 14);
  expect(sigma[1]).toBeCloseTo(1 / golden, 14);
});

test('columns that depend on each other become orthonormal all the same', () => {
  const a = matrixFrom(4, 3, [1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
  const { q, r } = orthonormalize(a);
  expect(skew(q)).toBeLessThan(1e-14);
  expect(Array.from(multiply(q, r).data)).toEqual(Array.from(a.data, (x) => expect.closeTo(x, 12)));
});

describe('decompose', () => {
  const modelOf = (seed: number) =>
    tf.sequential({
      layers: [1, 2].map((i) =>
        tf.layers.dense({
          inputShape: [6],
          units: 6,
          name: `layer_${i}`,
          kernelInitializer: tf.initializers.glorotUniform({ seed: seed + i }),
        }),
      ),
    });

  test('reports progress, and takes from its cache what fits the weights', async () => {
    const cache = memoryFile();
    const progress: string[] = [];
    const onProgress = ({ done, total, site }: { done: number; total: number; site: string }) =>
      void progress.push(`${done}/${total} ${site}`);
    const first = await decompose(modelOf(1), { rank: 3, cache, onProgress });
    expect(progress).toEqual(['1/2 layer_1', '2/2 layer_2']);
    const before = tf.memory().numTensors;
    const model = modelOf(1);
    const written = cache.artifacts;
    const second = await decompose(model, { rank: 3, cache });
    expect(cache.artifacts).toBe(written); // nothing new to write
    for (const [site, { sigma }] of first) expect(Array.from(second.get(site)!.sigma)).toEqual(Array.from(sigma, (x) => Math.fround(x)));
    await decompose(modelOf(5), { rank: 3, cache }); // another base
    expect(Object.keys((cache.artifacts!.userDefinedMetadata as { energies: object }).energies)).toHaveLength(4);
    const more = await decompose(model, { rank: 5, cache }); // more than the cache has
    expect([...more.values()].map(({ sigma }) => sigma.length)).toEqual([5, 5]);
    expect(tf.memory().numTensors).toBe(before + 8); // the weights of two more models
  });
});
