/** Ranks from spectra. */
import { finetune, restore } from '@leantune/core';
import { decompose } from '@leantune/core/low-rank';
import { memoryFile, testTechnique } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { beforeAll, describe, expect, test } from 'vitest';
import { candidateRanks, capturedEnergy } from '../src/allocate.ts';
import { allocateRanks, explainRanks, lamdaPlusPlus, type Spectrum } from '../src/index.ts';

beforeAll(async () => {
  await tf.setBackend('cpu');
});

const sum = (values: Iterable<number>): number => [...values].reduce((total, x) => total + x, 0);

function spectrumOf(site: string, sigma: readonly number[], size = 64): Spectrum {
  return { site, dIn: size, dOut: size, sigma, energy: sum(sigma.map((x) => x * x)) };
}

/** σᵢ = decayⁱ */
const falling = (site: string, decay: number, size = 64): Spectrum =>
  spectrumOf(
    site,
    Array.from({ length: size }, (_, i) => decay ** i),
    size,
  );

describe('the allocation', () => {
  test('spends the budget, is deterministic, and knows its candidates', () => {
    const spectra = [falling('a', 0.5), falling('b', 0.99), falling('c', 0.9), falling('d', 0.7)];
    const ranks = allocateRanks(spectra, { averageRank: 8 });
    expect(candidateRanks(8)).toEqual([4, 8, 12, 16]);
    expect(sum(Object.values(ranks))).toBe(32);
    expect(allocateRanks(spectra, { averageRank: 8 })).toEqual(ranks);
    // 'a' and 'd' have 99.6 % and 94 % of their energy in four values; 'b' and 'c' gain more from more.
    expect(ranks).toEqual({ a: 4, b: 12, c: 12, d: 4 });
  });

  test('captures as much as the best of all choices, on spectra whose gains fall', () => {
    const spectra = [falling('a', 0.6), falling('b', 0.95), falling('c', 0.85)];
    const energy = (ranks: readonly number[]) => sum(spectra.map((one, i) => capturedEnergy(one, ranks[i]!)));
    let best = 0;
    for (const a of candidateRanks(4))
      for (const b of candidateRanks(4)) for (const c of candidateRanks(4)) if (a + b + c <= 12) best = Math.max(best, energy([a, b, c]));
    expect(energy(Object.values(allocateRanks(spectra, { averageRank: 4 })))).toBeCloseTo(best, 12);
  });

  test('keeps within a budget of trained numbers, and within the shapes', () => {
    const spectra = [falling('wide', 0.9), falling('thin', 0.99, 5)];
    const ranks = allocateRanks(spectra, { averageRank: 8, budget: 1000 });
    expect(ranks['thin']).toBeLessThanOrEqual(5);
    const trained = ranks['wide']! ** 2 + 64 * ranks['wide']! + ranks['thin']! ** 2 + 5 * ranks['thin']!;
    expect(trained).toBeLessThanOrEqual(1000);
    expect(ranks['wide']).toBe(12);
  });

  test('a matrix of zeros and equal spectra are no trouble', () => {
    expect(
      allocateRanks([spectrumOf('zero', new Array(64).fill(0)), spectrumOf('zeroToo', new Array(64).fill(0))], { averageRank: 2 }),
    ).toEqual({ zero: 3, zeroToo: 1 });
  });
});

describe('on a model', () => {
  const modelOf = () =>
    tf.sequential({
      layers: ['first', 'second', 'third'].map((name, i) =>
        tf.layers.dense({ inputShape: [16], units: 16, name, kernelInitializer: tf.initializers.glorotNormal({ seed: i + 1 }) }),
      ),
    });

  test('explains itself before training: a table, and a page', async () => {
    const svd = await decompose(modelOf(), { rank: 8 });
    const plan = explainRanks(svd, { averageRank: 4 });
    expect(sum(Object.values(plan.ranks))).toBe(12);
    expect(plan.trainable.start).toBe(sum(Object.values(plan.ranks).map((r) => r * r + 16 * r)));
    expect(String(plan)).toMatch(/^average rank 4: \d+ train at first, \d+ in the end\nsite +kernel +rank +energy\nfirst +16 x 16/);
    expect(plan.toHTML().match(/<rect/g)).toHaveLength(24);
    expect(plan.toHTML().match(/#1769aa/g)).toHaveLength(12);
    const model = modelOf();
    const tuned = finetune(model, lamdaPlusPlus({ averageRank: 4, svd }));
    expect(tuned.summary().trainable).toBe(plan.trainable.start);
    expect(String(tuned.summary())).toMatch(/3 sites with rank/);
    const file = memoryFile();
    await tuned.save(file);
    const restored = await restore(modelOf(), file, { lamdaPlusPlus });
    expect(restored.summary().trainable).toBe(plan.trainable.start);
    tuned.dispose();
    restored.dispose();
    expect(() => finetune(model, lamdaPlusPlus({ averageRank: 4, svd: 'saved' }))).toThrow(
      "[lamdaPlusPlus] got svd 'saved' without ranks; expected both, as a file has them. Leave svd out.",
    );
  });
});

testTechnique('lamdaPlusPlus', {
  make: () => lamdaPlusPlus({ averageRank: 2 }),
  factories: { lamdaPlusPlus },
  learns: { rate: 0.05, steps: 60 },
});
