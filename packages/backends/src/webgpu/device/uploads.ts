/**
 * Small tensors on their way to the GPU: labels, token ids, constants. tfjs makes a buffer that the processor can see for each, and destroys
 * it after, which costs a driver a good part of a millisecond. Here those of a batch share one.
 */
import type { WebGPUBackend } from '../backend.ts';
import { Ring } from '../recording/ring.ts';
import { usage } from './gpu.ts';

const SIZE = 2 ** 20;
/** What is larger goes as tfjs does it. */
const MOST = SIZE / 8;

const sharing = new WeakSet<object>();

/** Lets `backend` upload small tensors through one buffer, once. */
export function shareUploads(backend: WebGPUBackend): void {
  if (sharing.has(backend)) return;
  sharing.add(backend);
  const upload = backend.uploadToGPU.bind(backend);
  let ring: Ring | undefined;
  backend.uploadToGPU = (dataId) => {
    const data = backend.tensorMap.get(dataId);
    const { values, dtype } = data;
    if (data.resource || !values || dtype === 'string') return upload(dataId); // complex numbers have no values
    const size = 4 * values.length;
    if (size === 0 || size > MOST) return upload(dataId);
    ring ??= new Ring(backend, { size: SIZE, stride: 4, reads: usage.copySrc });
    const buffer = backend.bufferManager.acquireBuffer(size, usage.storage | usage.copySrc | usage.copyDst);
    const { offset } = ring.place(size);
    const bytes = new (dtype === 'float32' ? Float32Array : Int32Array)(ring.bytes, offset, values.length);
    bytes.set(values as ArrayLike<number>);
    backend.ensureCommandEncoderReady();
    backend.endComputePassEncoder();
    backend.commandEncoder!.copyBufferToBuffer(ring.buffer, offset, buffer, 0, size);
    data.values = null;
    data.resource = buffer;
  };
}
