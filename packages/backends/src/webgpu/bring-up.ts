/** WebGPU on a device of our own: the browser's, or in Node Dawn's, through the npm package `webgpu`. */
import type { BringUp, Reason } from '../bring-up.ts';
import { isSoftwareGpu } from '../software-gpu.ts';
import type { WebGPUBackend } from './backend.ts';
import { findAdapter, openDevice } from './device/device.ts';
import { checkHalf } from './halves/half-check.ts';
import { registerWebgpuKernels } from './index.ts';
import { lengthenBatches } from './recording/batch.ts';

export const webgpu: BringUp = {
  packages: ['@tensorflow/tfjs-backend-webgpu', 'webgpu'],
  setUp: 'Needs an adapter: a browser with WebGPU, or in Node the package webgpu; and a driver for Vulkan, Metal or Direct3D 12',
  options: ['maxBytes'],
  async prepare({ maxBytes }) {
    await openDevice(maxBytes);
    lengthenBatches();
    registerWebgpuKernels();
  },
  start: (backend) => checkHalf(backend as WebGPUBackend),
  async passOver(): Promise<Reason | undefined> {
    const { info } = await findAdapter();
    if (!info.isFallbackAdapter && !isSoftwareGpu(info.architecture, info.device, info.description)) return undefined;
    return {
      why: `its adapter, ${info.description || info.device || 'a fallback'}, imitates a GPU on the processor, where wasm is faster`,
      fix: "Install the GPU's own driver, or ask for webgpu by name",
    };
  },
};
