/** Bind groups and their layouts are made once: against a device that counts, and on a real one in a loop that never waits. */
import { available } from '@leantune/testing';
import * as tf from '@tensorflow/tfjs';
import { describe, expect, it } from 'vitest';
import { useBackend } from '../../src/index.ts';
import type { WebGPUBackend } from '../../src/webgpu/backend.ts';
import type { GpuDevice } from '../../src/webgpu/device/gpu.ts';
import { keepBindGroups } from '../../src/webgpu/recording/bind-groups.ts';

function counting() {
  const made = { groups: 0, layouts: 0 };
  const device = {
    createBindGroup: () => ({ group: made.groups++ }),
    createComputePipeline: () => ({ getBindGroupLayout: () => ({ layout: made.layouts++ }) }),
  };
  keepBindGroups(device as unknown as GpuDevice);
  return { device: device as unknown as GpuDevice, made };
}
const bind = (device: GpuDevice, layout: object, ...resources: readonly object[]): object =>
  device.createBindGroup({ layout, entries: resources.map((resource, binding) => ({ binding, resource })) });

describe('bind groups', () => {
  it('are the same for the same layout, buffers, offsets and sizes, and for no others', () => {
    const { device, made } = counting();
    const [layout, other, a, b] = [{}, {}, {}, {}];
    const group = bind(device, layout, { buffer: a }, { buffer: b, offset: 0, size: 16 });
    expect(bind(device, layout, { buffer: a, offset: 0 }, { buffer: b, size: 16 })).toBe(group);
    for (const resources of [
      [{ buffer: b }, { buffer: a, size: 16 }],
      [
        { buffer: a, offset: 256 },
        { buffer: b, size: 16 },
      ],
      [{ buffer: a }, { buffer: b, size: 32 }],
      [{ buffer: a }, { buffer: b }],
    ])
      expect(bind(device, layout, ...resources)).not.toBe(group);
    expect(bind(device, other, { buffer: a }, { buffer: b, size: 16 })).not.toBe(group);
    expect(made.groups).toBe(6);
  });

  it('of textures are made anew', () => {
    const { device, made } = counting();
    const [layout, texture] = [{}, {}];
    bind(device, layout, texture);
    bind(device, layout, texture);
    expect(made.groups).toBe(2);
  });

  it('that are used stay, the others go', () => {
    const { device, made } = counting();
    const [layout, used] = [{}, {}];
    const group = bind(device, layout, { buffer: used });
    for (let i = 0; i < 20_000; i++) {
      bind(device, layout, { buffer: {} });
      if (i % 1000 === 0) expect(bind(device, layout, { buffer: used })).toBe(group);
    }
    expect(made.groups).toBe(20_001);
  });

  it('have one layout for each pipeline and index', () => {
    const { device, made } = counting();
    const pipeline = device.createComputePipeline({});
    expect(pipeline.getBindGroupLayout(0)).toBe(pipeline.getBindGroupLayout(0));
    expect(pipeline.getBindGroupLayout(1)).not.toBe(pipeline.getBindGroupLayout(0));
    expect(device.createComputePipeline({}).getBindGroupLayout(0)).not.toBe(pipeline.getBindGroupLayout(0));
    expect(made.layouts).toBe(3);
  });
});

const [backend] = await available(['webgpu']);
describe.runIf(backend)('on webgpu', () => {
  it('equal steps that never wait make none after the first', async () => {
    await useBackend('webgpu');
    const { device } = tf.backend() as unknown as WebGPUBackend;
    const seen = new Set<object>();
    const { createBindGroup } = device;
    let asked = 0;
    Object.assign(device, {
      createBindGroup(descriptor: object) {
        asked++;
        const group = createBindGroup(descriptor);
        seen.add(group);
        return group;
      },
    });
    try {
      const x = tf.randomNormal([4, 8]);
      const w = tf.variable(tf.randomNormal([8, 4]));
      const step = (): void => {
        const { value, grads } = tf.variableGrads(() => tf.matMul(x, w).relu().square().mean() as tf.Scalar);
        value.dataSync();
        tf.dispose([value, grads]);
      };
      for (let i = 0; i < 50; i++) step();
      const [after, before] = [seen.size, asked];
      for (let i = 0; i < 500; i++) step();
      expect(asked).toBeGreaterThan(before + 1000);
      expect(seen.size).toBe(after);
      tf.dispose([x, w]);
    } finally {
      Object.assign(device, { createBindGroup });
    }
  });
});
