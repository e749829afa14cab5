/**
 * The pool of GPU buffers, made to follow what is used. tfjs's keeps every buffer it ever made, by exact size, until the backend is
 * disposed, and gives none back before the open batch of kernels is submitted. Here
 *
 * - a disposed tensor gives its buffer back at once: kernels run in the order they were recorded, so what reuses it comes after;
 * - a buffer that has to be made, since no idle one has its size, first pushes out those that have waited longest: what is allocated stays
 *   below the most that tensors have held of late and a slack. The slack grows by what was pushed out and had to be made again, for drivers
 *   take near a millisecond for a large buffer: equal steps soon find all their buffers idle, and neither make nor destroy any;
 * - of the idle buffers of a size the oldest is taken, whatever the order they came back in: equal steps take equal buffers, and find their
 *   bind groups again (bind-groups.ts);
 * - a tensor that this adapter cannot bind, or that passes a limit of your own, is refused before anything is touched.
 */
import { BackendError } from '../../errors.ts';
import type { BufferManager, WebGPUBackend } from '../backend.ts';
import { submit } from '../recording/batch.ts';
import { numberOf } from '../recording/bind-groups.ts';
import { usage as bit, type GpuBuffer } from './gpu.ts';

const MiB = 2 ** 20;
/** To destroy smaller buffers frees little. */
const SMALL = 2 ** 16;
/** Idle bytes that may stay beside the most that was used. @param again bytes of what was pushed out and made again */
const slack = (used: number, again: number): number => Math.max(16 * MiB, used / 8 + Math.min(again, used / 2));

/** Bytes on the GPU. `used`: in tensors, and waiting for the open batch; `allocated`: those and the idle ones of the pool; `peak`: most ever allocated. */
export interface PoolUse {
  readonly used: number;
  readonly allocated: number;
  readonly peak: number;
  readonly limit: number;
}

/** Buffers taken while what was needed before is remembered: several steps of most models. */
const SPAN = 16384;

interface Pool {
  limit: number;
  peak: number;
  /** Buffers taken in this span. */
  count: number;
  /** Of this span, and of the one before. */
  now: Span;
  before: Span;
}

interface Span {
  /** Most bytes in tensors. */
  used: number;
  /** Buffers destroyed to make room, by their key. */
  readonly gone: Map<string, number>;
  /** Bytes of those that were made again. */
  again: number;
}
const newSpan = (): Span => ({ used: 0, gone: new Map(), again: 0 });
const forgetful = () => ({ count: 0, now: newSpan(), before: newSpan() });
const pools = new WeakMap<object, Pool>();

/** Takes over the pool of `backend`. Called again it only moves the limit: the most bytes it may allocate. */
export function managePool(backend: WebGPUBackend, maxBytes: number = Number.POSITIVE_INFINITY): void {
  if (!(maxBytes > 0)) throw new BackendError('bad-option', 'useBackend', `maxBytes is ${maxBytes}; expected a positive number of bytes`);
  const pool = pools.get(backend);
  if (pool) pool.limit = maxBytes;
  else install(backend, { limit: maxBytes, peak: 0, ...forgetful() });
  if (backend.bufferManager.numBytesAllocated > maxBytes) trimPool(backend);
}

/** What tensors and the pool hold on a backend that `useBackend` has set. `resetPeak` starts a new peak at what is allocated now. */
export function poolUse(backend: object, { resetPeak = false }: { readonly resetPeak?: boolean } = {}): PoolUse {
  const pool = pools.get(backend);
  if (!pool)
    throw new BackendError(
      'bad-option',
      'poolUse',
      "got a backend whose pool is tfjs's own; expected one that useBackend('webgpu') has set",
    );
  const { numBytesUsed: used, numBytesAllocated: allocated } = (backend as WebGPUBackend).bufferManager;
  if (resetPeak) pool.peak = allocated;
  return { used, allocated, peak: pool.peak, limit: pool.limit };
}

/** Destroys every idle buffer of `backend`, and forgets how many bytes earlier steps needed. */
export function trimPool(backend: object): void {
  const pool = pools.get(backend);
  if (pool) Object.assign(pool, forgetful());
  submit(backend as WebGPUBackend);
  destroyIdle((backend as WebGPUBackend).bufferManager, 0);
}

function install(backend: WebGPUBackend, pool: Pool): void {
  pools.set(backend, pool);
  Object.defineProperty(backend, 'commandQueueOwnedIds', { get: () => none, set: () => {} });
  const { bufferManager: manager, device } = backend;
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const acquire = manager.acquireBuffer.bind(manager);
  manager.acquireBuffer = (size, usage, mapped, reuse) => {
    if (usage & bit.storage) {
      if (size > Math.min(maxBufferSize, maxStorageBufferBindingSize)) throw tooLarge(size, maxStorageBufferBindingSize);
      if (manager.numBytesUsed + size > pool.limit) throw noRoom(size, manager.numBytesUsed, pool.limit);
      note(pool, manager.numBytesUsed + size);
      const key = `${size}_${usage}`;
      if (manager.freeBuffers.get(key)?.length) renew(manager, key);
      else {
        noteAgain(pool, key, size);
        makeRoom(backend, pool, size);
      }
    } else if (size >= SMALL && manager.numBytesAllocated + size > pool.limit) freeFor(backend, size, pool.limit);
    const buffer = acquire(size, usage, mapped, reuse);
    pool.peak = Math.max(pool.peak, manager.numBytesAllocated);
    return buffer;
  };
  const release = manager.releaseBuffer.bind(manager);
  manager.releaseBuffer = (buffer, reuse = true) => {
    release(buffer, reuse);
    if (reuse) sortLast(manager.freeBuffers.get(`${buffer.size}_${buffer.usage}`));
  };
  const run = backend.runWebGPUProgram.bind(backend);
  backend.runWebGPUProgram = (program, inputs, dtype, uniforms, output) => {
    const y = output ?? backend.makeTensorInfo(program.outputShape, dtype);
    try {
      return run(program, inputs, dtype, uniforms, y);
    } catch (error) {
      if (!output) backend.disposeData(y.dataId);
      throw error;
    }
  };
}

/** Puts the last in its place among the others, the oldest at the end: tfjs takes buffers from there. */
function sortLast(buffers: GpuBuffer[] = []): void {
  for (let i = buffers.length - 1; i > 0 && numberOf(buffers[i - 1]!) < numberOf(buffers[i]!); i--)
    [buffers[i - 1], buffers[i]] = [buffers[i]!, buffers[i - 1]!];
}

/** tfjs asks it which buffers must wait for the open batch. */
const none: WebGPUBackend['commandQueueOwnedIds'] = { add: () => {}, has: () => false };

function makeRoom(backend: WebGPUBackend, pool: Pool, size: number): void {
  const { bufferManager: manager } = backend;
  const idle = manager.numBytesAllocated - manager.numBytesUsed;
  const used = manager.numBytesUsed + size;
  const keep = Math.min(room(pool) - used, pool.limit - used);
  if (idle > keep) {
    submit(backend); // which may use them
    destroyIdle(manager, keep, pool.now.gone);
  }
}

/** For what values are read or written through: no tensor is refused for it, but idle buffers make way. */
function freeFor(backend: WebGPUBackend, size: number, limit: number): void {
  submit(backend);
  destroyIdle(backend.bufferManager, Math.max(0, limit - size - backend.bufferManager.numBytesUsed));
}

/** What may be allocated: the most that tensors have held of late, and the slack. */
function room({ before, now }: Pool): number {
  const used = Math.max(before.used, now.used);
  return used + slack(used, Math.max(before.again, now.again));
}

/** Notes what is used. What was needed one or two of these spans ago, and not since, is forgotten. */
function note(pool: Pool, used: number): void {
  if (++pool.count > SPAN) Object.assign(pool, { count: 0, before: pool.now, now: newSpan() });
  pool.now.used = Math.max(pool.now.used, used);
}

/** Notes a buffer that is made, where one like it was destroyed in this span. */
function noteAgain({ now }: Pool, key: string, size: number): void {
  const gone = now.gone.get(key) ?? 0;
  if (gone === 0) return;
  now.gone.set(key, gone - 1);
  now.again += size;
}

/** The map's order is that of last use. */
function renew({ freeBuffers }: BufferManager, key: string): void {
  const buffers = freeBuffers.get(key) as GpuBuffer[];
  freeBuffers.delete(key);
  freeBuffers.set(key, buffers);
}

/** Destroys idle buffers, the longest unused sizes first and small ones last, until at most `keep` bytes are idle. */
function destroyIdle(manager: BufferManager, keep: number, gone = new Map<string, number>()): void {
  for (const least of [SMALL, 0])
    for (const [key, buffers] of manager.freeBuffers) {
      if (Number.parseInt(key, 10) < least) continue;
      while (buffers.length > 0 && manager.numBytesAllocated - manager.numBytesUsed > keep) {
        const buffer = buffers.pop() as GpuBuffer;
        buffer.destroy();
        gone.set(key, (gone.get(key) ?? 0) + 1);
        manager.numBytesAllocated -= buffer.size;
        manager.numFreeBuffers--;
      }
      if (buffers.length > 0) return;
      if (manager.usedBuffers.get(key)?.length) continue; // they look for their place when they are released
      manager.freeBuffers.delete(key);
      manager.usedBuffers.delete(key);
    }
}

const mib = (bytes: number): string => (bytes < MiB / 10 ? `${bytes} bytes` : `${(bytes / MiB).toFixed(1)} MiB`);

const tooLarge = (size: number, limit: number): BackendError =>
  new BackendError(
    'out-of-memory',
    'webgpu',
    `a tensor asks for ${mib(size)}; this adapter binds at most ${mib(limit)} at once. Use a smaller batch, or split the tensor`,
  );

const noRoom = (size: number, used: number, limit: number): BackendError =>
  new BackendError(
    'out-of-memory',
    'webgpu',
    `a tensor asks for ${mib(size)}; ${mib(used)} of ${mib(limit)} are in use. Use a smaller batch, keep less for backward (explain() says what), or dispose what is no longer read`,
  );
