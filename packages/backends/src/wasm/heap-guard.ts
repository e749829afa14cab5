/**
 * An error before the heap overflows.
 *
 * A wasm heap ends at 4 GiB. tfjs does not look at what malloc returns: past the end it writes tensors over one another,
 * and the numbers are silently wrong. The guard stands before malloc, so a refused tensor has touched nothing.
 */
import { BackendError } from '../errors.ts';
import type { WasmBackend } from './backend.ts';

/** Where the heap of tfjs-backend-wasm ends. */
const HEAP_END = 65_535 * 65_536;
/** Kept free for what tfjs allocates inside a kernel (packed weights, index tables), which no guard sees. */
const RESERVE = 64 * 2 ** 20;

/** Bytes of the heap. `used`: held by tensors; `limit`: what they may hold; `heap`: what the engine has taken from the system, which never shrinks. */
export interface HeapUse {
  readonly used: number;
  readonly limit: number;
  readonly heap: number;
}

interface Guard {
  limit: number;
  used: number;
}
const guards = new WeakMap<object, Guard>();

/**
 * Makes `backend`, a wasm backend, throw a {@link BackendError} with code `'out-of-memory'` instead of overflowing.
 * Called again it only moves the limit.
 *
 * @param maxBytes what all tensors together may hold. @default the whole heap, 4 GiB less a reserve
 */
export function guardHeap(backend: object, maxBytes: number = HEAP_END - RESERVE): void {
  if (!(maxBytes > 0)) throw new BackendError('bad-option', 'useBackend', `maxBytes is ${maxBytes}; expected a positive number of bytes`);
  const limit = Math.min(maxBytes, HEAP_END - RESERVE);
  const guard = guards.get(backend);
  if (guard) guard.limit = limit;
  else install(backend as WasmBackend, limit);
}

/** What tensors hold on a guarded backend. */
export function heapUse(backend: object): HeapUse {
  const guard = guards.get(backend);
  if (!guard)
    throw new BackendError('bad-option', 'heapUse', 'got a backend without a guard; expected one that useBackend or guardHeap has seen');
  return { used: guard.used, limit: guard.limit, heap: (backend as WasmBackend).wasm.HEAPU8.byteLength };
}

function install(backend: WasmBackend, limit: number): void {
  const { wasm } = backend;
  wasm._free(wasm._malloc(8)); // the first call of each replaces the loader's stub, and would replace a wrapper
  const [malloc, free] = [wasm._malloc, wasm._free];
  const sizes = new Map<number, number>();
  const guard: Guard = { limit, used: 0 };
  const refuse = (bytes: number): never => {
    const mib = (n: number) => `${(n / 2 ** 20).toFixed(1)} MiB`;
    const why = guard.used + bytes > guard.limit ? '' : ', and no free block of that size is left beside what kernels need';
    throw new BackendError(
      'out-of-memory',
      'wasm',
      `a tensor asks for ${mib(bytes)}; ${mib(guard.used)} of ${mib(guard.limit)} are in use${why}. Use a smaller batch, keep less for backward (explain() says what), or dispose what is no longer read`,
    );
  };
  wasm._malloc = (bytes) => {
    if (guard.used + bytes > guard.limit) refuse(bytes);
    const at = malloc(bytes) >>> 0;
    if (at === 0) refuse(bytes);
    if (wasm.HEAPU8.byteLength > HEAP_END - 8 * RESERVE) {
      const reserve = malloc(RESERVE) >>> 0;
      free(reserve);
      if (reserve === 0) {
        free(at);
        refuse(bytes);
      }
    }
    sizes.set(at, bytes);
    guard.used += bytes;
    return at;
  };
  wasm._free = (at) => {
    guard.used -= sizes.get(at) ?? 0;
    sizes.delete(at);
    free(at);
  };
  guards.set(backend, guard);
}
