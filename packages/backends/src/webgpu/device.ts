/**
 * A device of our own under tfjs's backend name `webgpu`, with all that the adapter can do: f16, subgroups, subgroup matrices,
 * timestamps, its full limits. tfjs asks for none of these but timestamps. In Node the adapter comes from Dawn, through the npm
 * package `webgpu`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../errors.ts';
import type { WebGPUBackend } from './backend.ts';
import type { Gpu, GpuAdapter, GpuDevice } from './gpu.ts';
import { isLost } from './health.ts';
import { watch } from './watch.ts';

/** Taken where the adapter has them. */
const features = [
  'shader-f16',
  'subgroups',
  'subgroup-size-control',
  'chromium-experimental-subgroup-matrix',
  'timestamp-query',
  'bgra8unorm-storage',
];

/**
 * Toggles of Dawn in Node. `allow_unsafe_apis`: subgroup matrices. `vulkan_enable_f16_on_nvidia`: Dawn hides f16 there below driver 615.71,
 * for conformance failures on older ones. `timestamp_quantization` off: or profiles come in steps of 100 µs.
 */
const toggles = ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia', 'disable-dawn-features=timestamp_quantization'];

const isNode = (): boolean => Boolean(globalThis.process?.versions?.node);
const absent = (message: string, cause?: unknown): BackendError => new BackendError('not-available', 'webgpu', message, { cause });

/**
 * Registers the backend `webgpu` on a device of our own. A backend that tfjs has already brought up keeps its device, and its tensors; one
 * whose device is lost is replaced.
 *
 * @throws BackendError `'not-installed'` or `'not-available'`, with what to install
 */
export async function bringUp(): Promise<void> {
  const present = tf.engine().registry['webgpu'] as WebGPUBackend | undefined;
  if (present && !isLost(present)) return watch(present);
  const gpu = await findGpu();
  const { WebGPUBackend: Backend } = await import('@tensorflow/tfjs-backend-webgpu').catch((error: unknown) => {
    throw new BackendError(
      'not-installed',
      'webgpu',
      'needs @tensorflow/tfjs-backend-webgpu. Run: npm install @tensorflow/tfjs-backend-webgpu@^4.22',
      {
        cause: error,
      },
    );
  });
  const adapter = await findAdapter(gpu);
  const device = await requestDevice(adapter);
  const backend = new Backend(device as never, adapter.info as never) as unknown as WebGPUBackend;
  watch(backend);
  if (tf.findBackendFactory('webgpu') !== null) tf.removeBackend('webgpu');
  tf.registerBackend('webgpu', () => backend, 3);
}

/** The adapter that `bringUp` would take. @throws BackendError as `bringUp` does */
export async function findAdapter(gpu?: Gpu): Promise<GpuAdapter> {
  const adapter = await (gpu ?? (await findGpu())).requestAdapter({ powerPreference: 'high-performance' });
  if (adapter) return adapter;
  throw absent(
    isNode()
      ? 'found no adapter: Vulkan has no driver here. Install that of your GPU, or Mesa (Debian, Ubuntu: apt install mesa-vulkan-drivers; version 24 or newer also runs on the CPU), and look at it with vulkaninfo'
      : 'the browser has no adapter. Update the graphics driver, turn hardware acceleration on, or see chrome://gpu',
  );
}

async function findGpu(): Promise<Gpu> {
  const { navigator } = globalThis as { navigator?: { gpu?: Gpu } };
  if (navigator?.gpu) return navigator.gpu;
  if (!isNode())
    throw absent(
      'the browser has no WebGPU, or the page is not served over https or from localhost. Use Chrome or Edge >= 113, Safari >= 26',
    );
  const gpu = await gpuOfNode();
  // tfjs looks for these two as globals
  if (navigator) Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  else
    Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: `Node.js/${process.versions.node}` }, configurable: true });
  return gpu;
}

async function gpuOfNode(): Promise<Gpu> {
  const dawn = await import('webgpu').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ERR_MODULE_NOT_FOUND')
      throw new BackendError('not-installed', 'webgpu', 'Node needs the package webgpu. Run: npm install webgpu@^0.6.2', { cause: error });
    throw absent(`the package webgpu is installed and does not load: ${error.message}`, error);
  });
  Object.assign(globalThis, dawn.globals);
  return dawn.create(toggles) as unknown as Gpu;
}

async function requestDevice(adapter: GpuAdapter): Promise<GpuDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) requiredLimits[name] = adapter.limits[name as keyof GpuAdapter['limits']];
  const requiredFeatures = features.filter((feature) => adapter.features.has(feature));
  return adapter.requestDevice({ requiredFeatures, requiredLimits }).catch((error: Error) => {
    throw absent(`the adapter ${adapter.info.description || adapter.info.vendor} gives no device: ${error.message}`, error);
  });
}
