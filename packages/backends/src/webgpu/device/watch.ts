/** Turns what the device reports late, a loss, no memory, an invalid call, into errors of the next kernel, upload or read. */
import { BackendError } from '../../errors.ts';
import type { WebGPUBackend } from '../backend.ts';
import { startShort, submit } from '../recording/batch.ts';
import { assertHealthy, deviceLost, fail } from './health.ts';
import { canReadSync, readBuffer } from './read-sync.ts';

const watched = new WeakSet<object>();

/** Installs the watch on `backend`, once. */
export function watch(backend: WebGPUBackend): void {
  if (watched.has(backend)) return;
  watched.add(backend);
  const { device } = backend;
  const forget = isolateNew(backend);
  void device.lost.then(({ reason, message }) => fail(backend, deviceLost(`${reason}: ${message}`.replace(/\s+/g, ' '))));
  device.addEventListener('uncapturederror', (event) => {
    event.preventDefault(); // we report it
    if (event.error.message.includes('invalid due to a previous error')) return;
    forget();
    const outOfMemory = event.error.constructor.name === 'GPUOutOfMemoryError';
    const next = outOfMemory
      ? 'Values computed since then are lost: restore the last saved adapter, then use a smaller batch, or keep less for backward (explain() says what)'
      : 'Values computed since then are wrong. This is a defect of the kernel: please report it';
    fail(
      backend,
      new BackendError(
        outOfMemory ? 'out-of-memory' : 'kernel-failed',
        'webgpu',
        `${event.error.message.trim().replace(/\.$/, '')}. ${next}`,
        { late: true },
      ),
    );
  });
  watchReads(backend);
}

/**
 * Gives each program of tfjs a batch of its own when it first runs: one that does not compile would take its whole batch with it.
 * @returns what forgets all pipelines: one that is broken would fail without a word when it is used again
 */
function isolateNew(backend: WebGPUBackend): () => void {
  const record = backend.recordAndSubmit.bind(backend);
  const known = new Set<string>();
  let broken = false; // the program that is compiling now, where the device reports at once
  backend.recordAndSubmit = (program, ...rest) => {
    if (known.has(program.shaderKey)) return record(program, ...rest);
    known.add(program.shaderKey);
    submit(backend);
    record(program, ...rest);
    submit(backend);
    if (broken) drop(program.shaderKey);
    broken = false;
  };
  const drop = (shaderKey: string): void => {
    known.delete(shaderKey);
    delete backend.pipelineCache[shaderKey];
  };
  return () => {
    for (const shaderKey of known) drop(shaderKey);
    broken = true;
  };
}

function watchReads(backend: WebGPUBackend): void {
  const read = backend.read.bind(backend);
  const readSync = backend.readSync.bind(backend);
  const upload = backend.uploadToGPU.bind(backend);
  backend.uploadToGPU = (dataId) => {
    assertHealthy(backend);
    upload(dataId);
  };
  backend.read = async (dataId) => {
    assertHealthy(backend);
    try {
      const values = await read(dataId);
      startShort(backend);
      assertHealthy(backend);
      return values;
    } catch (error) {
      await Promise.race([backend.device.lost, new Promise((done) => setTimeout(done, 50))]); // the loss is reported after what it breaks
      assertHealthy(backend);
      throw error;
    }
  };
  backend.readSync = (dataId) => {
    const data = backend.tensorMap.get(dataId);
    assertHealthy(backend);
    if (data.values != null || !data.resource || !canReadSync()) return readSync(dataId);
    data.values = readBuffer(backend, data.resource, data.dtype); // tfjs keeps them too
    assertHealthy(backend);
    return data.values;
  };
}
