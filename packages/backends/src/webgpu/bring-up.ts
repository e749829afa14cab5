/** WebGPU: the browser's, or what another package has put on `navigator.gpu`. */
import type { BringUp, Reason } from '../bring-up.ts';
import { BackendError } from '../errors.ts';
import { importPackage } from '../import-package.ts';
import { isSoftwareGpu } from '../software-gpu.ts';

interface Adapter {
  readonly info?: { readonly vendor: string; readonly device: string; readonly description: string; readonly isFallbackAdapter?: boolean };
}

const packages = ['@tensorflow/tfjs-backend-webgpu'] as const;
const setUp = 'Needs a WebGPU adapter: a browser that has WebGPU, and a driver for Vulkan, Metal or Direct3D 12';

export const webgpu: BringUp = {
  packages,
  setUp,
  async prepare() {
    await importPackage('webgpu', packages);
    if (!(await adapter())) throw new BackendError('not-available', 'useBackend', 'there is no WebGPU adapter', { fix: setUp });
  },
  async passOver(): Promise<Reason | undefined> {
    const info = (await adapter())?.info;
    if (!info || !(info.isFallbackAdapter || isSoftwareGpu(info.device, info.description))) return undefined;
    return {
      why: `its adapter, ${info.description || info.device || 'a fallback'}, imitates a GPU on the processor, where wasm is faster`,
      fix: "Install the GPU's own driver, or ask for webgpu by name",
    };
  },
};

async function adapter(): Promise<Adapter | null> {
  const gpu = (globalThis.navigator as { gpu?: { requestAdapter(): Promise<Adapter | null> } } | undefined)?.gpu;
  return (await gpu?.requestAdapter()) ?? null;
}
