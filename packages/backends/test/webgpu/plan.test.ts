/** Which plan a product gets, by what the device has. */
import { describe, expect, it } from 'vitest';
import { attentionPlanOf, memoryOf, widthOf } from '../../src/webgpu/attention/attention-plan.ts';
import type { WebGPUBackend } from '../../src/webgpu/backend.ts';
import { planOf } from '../../src/webgpu/products/plan.ts';

const gpu = (maxComputeWorkgroupStorageSize: number, maxComputeInvocationsPerWorkgroup = 1024) =>
  ({
    device: { adapterInfo: { description: 'a GPU' }, limits: { maxComputeWorkgroupStorageSize, maxComputeInvocationsPerWorkgroup } },
  }) as unknown as WebGPUBackend;
const cores = (lanes: number) => ({ f16: true, matrix: { shape: { M: 16, N: 16, K: 16 }, lanes } });
const large = { m: 4096, n: 4096, depth: 1 };

describe('the plan of a product', () => {
  it('has the largest tiles whose workgroups keep the device busy', () => {
    const half = cores(32);
    expect(planOf(gpu(49_152), large, { half })).toMatchObject({ kind: 'matrices', m: 128, n: 256 });
    expect(planOf(gpu(49_152), { m: 1024, n: 1024, depth: 2 }, { half })).toMatchObject({ kind: 'matrices', m: 128, n: 128 });
    expect(planOf(gpu(49_152), { m: 64, n: 64, depth: 1 }, { half })).toMatchObject({ kind: 'matrices', m: 64, n: 64 });
  });

  it('has larger tiles where a long inner axis, cut in pieces, makes as many workgroups', () => {
    const square = { m: 1024, n: 1024, depth: 1 };
    expect(planOf(gpu(49_152), square, { half: cores(32) })).toMatchObject({ kind: 'matrices', m: 64, n: 64 });
    expect(planOf(gpu(49_152), { ...square, cuts: 16 }, { half: cores(32) })).toMatchObject({ kind: 'matrices', m: 128, n: 256 });
    expect(planOf(gpu(49_152), { ...square, cuts: 2 })).toMatchObject({ kind: 'tiles', m: 128, n: 128 });
  });

  it('takes no more memory and threads than a workgroup has', () => {
    expect(planOf(gpu(32_768), large, { half: cores(32) })).toMatchObject({ kind: 'matrices', m: 128, n: 128 });
    expect(planOf(gpu(16_384), large, { half: cores(32) })).toMatchObject({ kind: 'matrices', m: 64, n: 64 });
    expect(planOf(gpu(49_152, 256), large, { half: cores(64) })).toMatchObject({ kind: 'matrices', m: 128, n: 128 });
    expect(planOf(gpu(8_192), large, { half: cores(32) })).toMatchObject({ kind: 'tiles', half: true });
  });

  it('uses no tensor cores for float32', () => {
    expect(planOf(gpu(49_152), large)).toEqual(planOf(gpu(49_152), large, { half: { f16: false } }));
    expect(planOf(gpu(49_152), large)).toMatchObject({ kind: 'tiles', m: 128, n: 128 });
    expect(planOf(gpu(16_384), large)).toMatchObject({ kind: 'tiles', m: 64, n: 64 }); // the least that WebGPU allows
  });
});

describe('the plan of attention', () => {
  const forward = { length: 512, scores: 1, sums: 1 } as const;
  const ofKeys = { length: 512, scores: 2, sums: 2 } as const;

  it.each([16_384, 32_768, 49_152])('fits a work group of %i bytes, for heads of any size up to 256', (bytes) => {
    for (const task of [forward, { ...forward, scores: 2 as const }, ofKeys])
      for (let size = 1; size <= 256; size++) {
        const plan = attentionPlanOf(gpu(bytes, 256), { ...task, size })!;
        const { left, right } = memoryOf(plan, size);
        expect(16 * (left + right)).toBeLessThanOrEqual(bytes);
        expect(plan.down * plan.across).toBeLessThanOrEqual(256);
        expect([(4 * Math.ceil(size / 4)) % plan.step, widthOf(plan) % plan.step]).toEqual([0, 0]);
      }
  });

  it('has the tallest tiles that memory, registers and the number of queries fill', () => {
    const tileOf = (bytes: number, task: Parameters<typeof attentionPlanOf>[1]) => {
      const plan = attentionPlanOf(gpu(bytes), task)!;
      return [plan.rows * plan.down, widthOf(plan)];
    };
    for (const task of [forward, ofKeys]) expect(tileOf(49_152, { ...task, size: 64 })).toEqual([128, 64]);
    expect(tileOf(32_768, { ...forward, size: 64 })).toEqual([128, 32]);
    expect(tileOf(32_768, { ...ofKeys, size: 64 })).toEqual([64, 64]);
    expect(tileOf(49_152, { ...forward, size: 64, length: 64 })).toEqual([64, 64]);
    expect(tileOf(32_768, { ...forward, size: 64, length: 1 })).toEqual([8, 128]);
  });

  it('is none where a head is larger than a work group', () => {
    expect(attentionPlanOf(gpu(16_384), { ...forward, size: 4096 })).toBeUndefined();
  });
});
