/** Milliseconds of each kernel on the GPU: every dispatch becomes a pass of its own, between two timestamps. */
import type { WebGPUBackend } from '@leantune/backends/webgpu';

interface Buffer {
  mapAsync(mode: number): Promise<void>;
  getMappedRange(): ArrayBuffer;
  destroy(): void;
}
interface Pass {
  setPipeline(pipeline: { readonly label: string }): void;
  setBindGroup(index: number, group: object, offsets?: readonly number[]): void;
  dispatchWorkgroups(...counts: number[]): void;
  end(): void;
}
interface Encoder {
  beginComputePass(descriptor?: object): Pass;
  resolveQuerySet(set: object, first: number, count: number, to: Buffer, offset: number): void;
  copyBufferToBuffer(from: Buffer, fromOffset: number, to: Buffer, toOffset: number, size: number): void;
  finish(): object;
}
interface Device {
  readonly queue: { submit(commands: readonly object[]): void };
  createCommandEncoder(): Encoder;
  createQuerySet(descriptor: { type: 'timestamp'; count: number }): { destroy(): void };
  createBuffer(descriptor: { size: number; usage: number }): Buffer;
}

export interface KernelTime {
  /** Of its pipeline. */
  readonly label: string;
  readonly workgroups: readonly number[];
  readonly ms: number;
}

/** WebGPU's bound on a set of queries. */
const MOST = 4096;
const usage = { mapRead: 1, copySrc: 4, copyDst: 8, queryResolve: 512 };

/** @returns what times the kernels that `run` records, in order; at most 2048 */
export function timeKernels({ device: given }: WebGPUBackend): (run: () => void) => Promise<KernelTime[]> {
  const device = given as unknown as Device;
  const create = device.createCommandEncoder.bind(device);
  return async (run) => {
    const set = device.createQuerySet({ type: 'timestamp', count: MOST });
    const dispatched: Omit<KernelTime, 'ms'>[] = [];
    device.createCommandEncoder = () => {
      const encoder = create();
      const begin = encoder.beginComputePass.bind(encoder);
      encoder.beginComputePass = () => passEach(begin, set, dispatched);
      return encoder;
    };
    run();
    device.createCommandEncoder = create;
    const size = 8 * MOST;
    const resolved = device.createBuffer({ size, usage: usage.queryResolve | usage.copySrc });
    const read = device.createBuffer({ size, usage: usage.mapRead | usage.copyDst });
    const encoder = create();
    encoder.resolveQuerySet(set, 0, 2 * dispatched.length, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, read, 0, size);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(1);
    const times = new BigUint64Array(read.getMappedRange().slice(0));
    for (const made of [set, resolved, read]) made.destroy();
    return dispatched.map((kernel, i) => ({ ...kernel, ms: Number(times[2 * i + 1]! - times[2 * i]!) / 1e6 }));
  };
}

/** Stands for a pass, and begins one for each dispatch. */
function passEach(begin: (descriptor: object) => Pass, querySet: object, dispatched: Omit<KernelTime, 'ms'>[]): Pass {
  let pipeline: { readonly label: string };
  let group: Parameters<Pass['setBindGroup']>;
  return {
    setPipeline: (of) => {
      pipeline = of;
    },
    setBindGroup: (...of) => {
      group = of;
    },
    dispatchWorkgroups(...counts) {
      const at = 2 * dispatched.length;
      if (at >= MOST) throw new Error(`[profile] more than ${MOST / 2} kernels`);
      dispatched.push({ label: pipeline.label, workgroups: counts });
      const pass = begin({ timestampWrites: { querySet, beginningOfPassWriteIndex: at, endOfPassWriteIndex: at + 1 } });
      pass.setPipeline(pipeline);
      pass.setBindGroup(...group);
      pass.dispatchWorkgroups(...counts);
      pass.end();
    },
    end: () => {},
  };
}
