/**
 * A device of our own under tfjs's backend name `webgpu`, with all that the adapter can do: f16, subgroups, subgroup matrices,
 * timestamps, its full limits. tfjs asks for none of these but timestamps. In Node the adapter comes from Dawn, through the npm
 * package `webgpu`.
 */
import * as tf from '@tensorflow/tfjs-core';
import { BackendError } from '../../errors.ts';
import { isPage, notInstalled } from '../../import-package.ts';
import type { WebGPUBackend } from '../backend.ts';
import { noteMatrices } from '../halves/half-units.ts';
import { keepBindGroups } from '../recording/bind-groups.ts';
import type { Gpu, GpuAdapter, GpuDevice } from './gpu.ts';
import { isLost } from './health.ts';
import { managePool } from './pool.ts';
import { catchDelivery } from './read-sync.ts';
import { shareUploads } from './uploads.ts';
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

const absent = (message: string, fix: string, cause?: unknown): BackendError =>
  new BackendError('not-available', 'webgpu', message, { fix, cause });

/**
 * Registers the backend `webgpu` on a device of our own. A backend that tfjs has already brought up keeps its device, and its tensors; one
 * whose device is lost is replaced.
 *
 * @throws BackendError `'not-installed'` or `'not-available'`, with what to install
 */
export async function openDevice(maxBytes?: number): Promise<void> {
  const present = tf.engine().registry['webgpu'] as WebGPUBackend | undefined;
  if (present && !isLost(present)) return adopt(present, maxBytes);
  const gpu = await findGpu();
  const { WebGPUBackend: Backend } = await import('@tensorflow/tfjs-backend-webgpu').catch((error: unknown) => {
    throw notInstalled('webgpu', ['@tensorflow/tfjs-backend-webgpu'], error);
  });
  const adapter = await findAdapter(gpu);
  const request = () => requestDevice(adapter);
  const device = await (isPage() ? request() : catchDelivery(request));
  keepBindGroups(device);
  noteMatrices(device, adapter.info);
  const backend = new Backend(device as never, adapter.info as never) as unknown as WebGPUBackend;
  adopt(backend, maxBytes);
  if (tf.findBackendFactory('webgpu') !== null) tf.removeBackend('webgpu');
  tf.registerBackend('webgpu', () => backend, 3);
}

function adopt(backend: WebGPUBackend, maxBytes?: number): void {
  shareUploads(backend);
  watch(backend);
  managePool(backend, maxBytes);
}

/** The adapter that `openDevice` would take. @throws BackendError as `openDevice` does */
export async function findAdapter(gpu?: Gpu): Promise<GpuAdapter> {
  const adapter = await (gpu ?? (await findGpu())).requestAdapter({ powerPreference: 'high-performance' });
  if (adapter) return adapter;
  throw isPage()
    ? absent('the browser has no adapter', 'Update the graphics driver, turn hardware acceleration on, or see chrome://gpu')
    : absent(
        'found no adapter: no driver for Vulkan, Metal or Direct3D 12 works here',
        'Install that of your GPU, or Mesa, which also runs on the processor (Debian, Ubuntu: apt install mesa-vulkan-drivers; version 24 or newer)',
      );
}

async function findGpu(): Promise<Gpu> {
  const { navigator } = globalThis as { navigator?: { gpu?: Gpu } };
  if (navigator?.gpu) return navigator.gpu;
  if (isPage())
    throw absent(
      'the browser has no WebGPU, or the page is not served over https or from localhost',
      'Use Chrome or Edge >= 113, Safari >= 26',
    );
  const gpu = await gpuOfNode();
  // tfjs looks for these two as globals
  if (navigator) Object.defineProperty(navigator, 'gpu', { value: gpu, configurable: true });
  else
    Object.defineProperty(globalThis, 'navigator', { value: { gpu, userAgent: `Node.js/${process.versions.node}` }, configurable: true });
  return gpu;
}

async function gpuOfNode(): Promise<Gpu> {
  const specifier = 'webgpu'; // not seen by bundlers: pages have no use for it
  const dawn = await (import(/* @vite-ignore */ /* webpackIgnore: true */ specifier) as Promise<typeof import('webgpu')>).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ERR_MODULE_NOT_FOUND') throw notInstalled('webgpu', ['webgpu'], error);
      throw absent(
        `the package webgpu is installed and does not load: ${error.message}`,
        'It needs the system libraries of a current Linux (glibc 2.34), macOS or Windows',
        error,
      );
    },
  );
  Object.assign(globalThis, dawn.globals);
  return dawn.create(toggles) as unknown as Gpu;
}

async function requestDevice(adapter: GpuAdapter): Promise<GpuDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name in adapter.limits) requiredLimits[name] = adapter.limits[name as keyof GpuAdapter['limits']];
  const requiredFeatures = features.filter((feature) => adapter.features.has(feature));
  return adapter.requestDevice({ requiredFeatures, requiredLimits }).catch((error: Error) => {
    throw absent(
      `the adapter ${adapter.info.description || adapter.info.vendor} gives no device: ${error.message}`,
      'Update the graphics driver',
      error,
    );
  });
}
