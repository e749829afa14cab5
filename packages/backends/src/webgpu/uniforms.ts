/**
 * The uniforms of the kernels in the open batch, side by side in one buffer. They are gathered in memory and written once, when the batch is
 * submitted; a kernel finds its own by a dynamic offset, so that bind groups do not depend on them. A write is in the queue before the batch
 * that reads it and after all earlier ones: the next batch may begin at the start again.
 */
import type { WebGPUBackend } from './backend.ts';
import { submit } from './batch.ts';
import type { Uniform } from './dispatch.ts';
import { type GpuBuffer, usage } from './gpu.ts';

/** Bytes from one kernel's uniforms to the next: WebGPU's own alignment of dynamic offsets. */
const STRIDE = 256;
const BYTES = 1024 * STRIDE;

/** Where in `buffer` a kernel's uniforms will be. */
export interface UniformPlace {
  readonly buffer: GpuBuffer;
  readonly offset: number;
  readonly size: number;
}

interface Ring {
  readonly buffer: GpuBuffer;
  readonly view: DataView;
  used: number;
}
const rings = new WeakMap<WebGPUBackend, Ring>();

/** Places uniforms for a kernel that is recorded next, and nothing between. Submits the open batch where the buffer is full. */
export function placeUniforms(backend: WebGPUBackend, uniforms: { readonly [name: string]: Uniform }): UniformPlace {
  const ring = rings.get(backend) ?? open(backend);
  let bytes = 0;
  for (const _ in uniforms) bytes += 4;
  const size = Math.ceil(bytes / STRIDE) * STRIDE;
  if (ring.used + size > BYTES) submit(backend);
  const offset = ring.used;
  let at = offset;
  for (const name in uniforms) {
    const [type, value] = uniforms[name]!;
    if (type === 'f32') ring.view.setFloat32(at, value, true);
    else ring.view.setUint32(at, value, true);
    at += 4;
  }
  ring.used = offset + size;
  return { buffer: ring.buffer, offset, size };
}

function open(backend: WebGPUBackend): Ring {
  const buffer = backend.device.createBuffer({ size: BYTES, usage: usage.copyDst | usage.uniform });
  const ring: Ring = { buffer, view: new DataView(new ArrayBuffer(BYTES)), used: 0 };
  rings.set(backend, ring);
  const { submitQueue } = backend;
  backend.submitQueue = () => {
    if (ring.used > 0) backend.queue.writeBuffer(buffer, 0, ring.view.buffer as ArrayBuffer, 0, ring.used);
    ring.used = 0;
    submitQueue.call(backend);
  };
  return ring;
}
