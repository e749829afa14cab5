/**
 * Keeps bind groups, and the layouts that they are made from. tfjs makes new ones for every kernel. JavaScript frees what it no longer
 * sees, but Node tells the device of that only between turns of the event loop: in a loop that never waits they pile up, until the driver has
 * no memory maps left. Equal steps take equal buffers from the pool, so they find their groups here, and spend no time on making them.
 */
import type { GpuBuffer, GpuDevice } from '../device/gpu.ts';

/** Groups kept, the last used. A training step of MobileNetV2 has about a thousand. */
const MOST = 8192;

interface Entry {
  readonly binding: number;
  readonly resource: { readonly buffer?: GpuBuffer; readonly offset?: number; readonly size?: number };
}
interface Descriptor {
  readonly layout: object;
  readonly entries: readonly Entry[];
}

const numbers = new WeakMap<object, number>();
let next = 0;

/** A number that `x` alone has: the next, when it is first asked for. */
export function numberOf(x: object): number {
  const known = numbers.get(x);
  if (known !== undefined) return known;
  numbers.set(x, next);
  return next++;
}

/** Lets `device` keep its bind groups. For a new device, before any pipeline is made. */
export function keepBindGroups(device: GpuDevice): void {
  const groups = new Map<string, object>();
  const create = device.createBindGroup.bind(device);
  const createPipeline = device.createComputePipeline.bind(device);
  Object.assign(device, {
    createBindGroup(descriptor: Descriptor) {
      if (!descriptor.entries.every(({ resource }) => resource.buffer)) return create(descriptor); // textures
      const bound = descriptor.entries.map(
        ({ binding, resource: { buffer, offset = 0, size = '' } }) => `${binding}:${numberOf(buffer as GpuBuffer)},${offset},${size}`,
      );
      const key = `${numberOf(descriptor.layout)} ${bound.join(' ')}`;
      const group = groups.get(key) ?? create(descriptor);
      groups.delete(key); // the map's order is that of use
      groups.set(key, group);
      if (groups.size > MOST) groups.delete(groups.keys().next().value as string);
      return group;
    },
    createComputePipeline(descriptor: object) {
      const pipeline = createPipeline(descriptor);
      const layouts: object[] = [];
      const layoutOf = pipeline.getBindGroupLayout.bind(pipeline);
      return Object.assign(pipeline, { getBindGroupLayout: (index: number) => (layouts[index] ??= layoutOf(index)) });
    },
  });
}
