/** TensorFlow's own figures of memory: what its allocator holds, temporaries inside an op included, which no count of tensors sees. */
import { BackendError } from '../errors.ts';
import { loadAddon } from './addon.ts';
import type { TensorflowBackend } from './binding.ts';

/** Bytes on one device. */
export interface AllocatorStats {
  /** As TensorFlow names it: '/job:localhost/replica:0/task:0/device:CPU:0'. */
  readonly device: string;
  readonly bytesInUse: number;
  /** The most since the process began, or since {@link resetPeak}. */
  readonly peakBytes: number;
  /** What the allocator may take; beyond it an op fails with a BackendError `'out-of-memory'`. */
  readonly limit: number;
}

interface MemoryAddon {
  stats(): AllocatorStats[];
  resetPeak(): void;
}

/**
 * The figures of the device that computes: the GPU if there is one.
 *
 * They come from a small addon that `npm run setup:tfjs-node` builds beside tfjs-node's own. On a GPU TensorFlow always keeps them; on
 * a CPU only if `TF_CPU_ALLOCATOR_USE_BFC=1` was set before it was loaded; `TF_CPU_BFC_MEM_LIMIT_IN_MB` then sets the limit.
 * A tensor whose values have not met an op yet is held by JavaScript, and is not in them.
 *
 * @throws BackendError `'not-available'` without the addon or the setting
 */
export function allocatorStats(backend: object): AllocatorStats {
  const devices = addonOf(backend as TensorflowBackend).stats();
  const found = devices.find(({ device }) => /GPU/.test(device)) ?? devices.find(({ device }) => /CPU/.test(device));
  if (!found) throw unavailable('the CPU allocator keeps no figures. Set TF_CPU_ALLOCATOR_USE_BFC=1 before TensorFlow is loaded');
  return found;
}

/** Makes the bytes in use now the peak. */
export const resetPeak = (backend: object): void => addonOf(backend as TensorflowBackend).resetPeak();

const unavailable = (why: string, cause?: unknown): BackendError => new BackendError('not-available', 'allocatorStats', why, { cause });

function addonOf(backend: TensorflowBackend): MemoryAddon {
  try {
    return loadAddon(backend, 'leantune_memory') as MemoryAddon;
  } catch (error) {
    const gpu = backend.isGPUPackage ? ' -- --gpu' : '';
    throw unavailable(`the addon that reads the figures is not there. Run: npm run setup:tfjs-node${gpu}`, error);
  }
}
