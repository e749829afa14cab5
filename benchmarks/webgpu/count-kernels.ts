/** Counts what a function asks of the GPU, by wrapping the device on which tfjs and our kernels record. */
import type { WebGPUBackend } from '@leantune/backends/webgpu';

export interface KernelCount {
  readonly dispatches: number;
  /** Of all buffers that its kernels bind, uniforms included. */
  readonly bytes: number;
  readonly kernels: { readonly [name: string]: number };
}

interface Pass {
  setPipeline(pipeline: { readonly label: string }): void;
  setBindGroup(index: number, group: object, offsets?: readonly number[]): void;
}
/** What is watched of a GPUDevice. */
export interface Device {
  createBindGroup(of: {
    readonly entries: readonly { readonly resource: { readonly buffer?: { readonly size: number }; readonly size?: number } }[];
  }): object;
  createCommandEncoder(): { beginComputePass(...given: unknown[]): Pass };
}

/** Of a pipeline's label, without the plan of its kernel. */
export const nameOf = (label: string): string => label.replace(/ \{.*$| columns.*$| rows.*$/, '');

/** @returns what a run of a function recorded. Not to be nested */
export function countKernels({ device }: WebGPUBackend): (run: () => void) => KernelCount {
  const watched = device as unknown as Device;
  const sizes = new WeakMap<object, number>();
  let count: { dispatches: number; bytes: number; kernels: { [name: string]: number } } | undefined;
  const createGroup = watched.createBindGroup.bind(device);
  watched.createBindGroup = (of) => {
    const group = createGroup(of);
    const bytes = of.entries.reduce((sum, { resource }) => sum + (resource.size ?? resource.buffer?.size ?? 0), 0);
    sizes.set(group, bytes);
    return group;
  };
  watchPasses(watched, (pass) => {
    const [setPipeline, setGroup] = [pass.setPipeline.bind(pass), pass.setBindGroup.bind(pass)];
    pass.setPipeline = (pipeline) => {
      const name = nameOf(pipeline.label);
      if (count) {
        count.kernels[name] = (count.kernels[name] ?? 0) + 1;
        count.dispatches++;
      }
      setPipeline(pipeline);
    };
    pass.setBindGroup = (index, group, offsets) => {
      if (count) count.bytes += sizes.get(group) ?? 0;
      setGroup(index, group, offsets);
    };
  });
  return (run) => {
    count = { dispatches: 0, bytes: 0, kernels: {} };
    const counted = count;
    run();
    count = undefined;
    return counted;
  };
}

/** Calls `watch` with each compute pass that begins from now on. */
export function watchPasses(device: Device, watch: (pass: Pass) => void): void {
  const createEncoder = device.createCommandEncoder.bind(device);
  device.createCommandEncoder = () => {
    const encoder = createEncoder();
    const begin = encoder.beginComputePass.bind(encoder);
    encoder.beginComputePass = (...given) => {
      const pass = begin(...given);
      watch(pass);
      return pass;
    };
    return encoder;
  };
}
