/** The uniforms of the kernels in the open batch. A kernel finds its own by a dynamic offset, so that bind groups do not depend on them. */
import type { WebGPUBackend } from '../backend.ts';
import { type GpuBuffer, usage } from '../device/gpu.ts';
import type { Uniform } from './dispatch.ts';
import { Ring } from './ring.ts';

/** Bytes from one kernel's uniforms to the next: WebGPU's own alignment of dynamic offsets. */
const STRIDE = 256;

/** Where in `buffer` a kernel's uniforms will be. */
export interface UniformPlace {
  readonly buffer: GpuBuffer;
  readonly offset: number;
  readonly size: number;
}

const rings = new WeakMap<WebGPUBackend, Ring>();

/** Places uniforms for a kernel that is recorded next, and nothing between. Submits the open batch where the buffer is full. */
export function placeUniforms(backend: WebGPUBackend, uniforms: { readonly [name: string]: Uniform }): UniformPlace {
  const ring = rings.get(backend) ?? new Ring(backend, { size: 1024 * STRIDE, stride: STRIDE, reads: usage.uniform });
  rings.set(backend, ring);
  let bytes = 0;
  for (const _ in uniforms) bytes += 4;
  const { offset, size } = ring.place(bytes);
  const view = new DataView(ring.bytes, offset, size);
  let at = 0;
  for (const name in uniforms) {
    const [type, value] = uniforms[name]!;
    if (type === 'f32') view.setFloat32(at, value, true);
    else view.setUint32(at, value, true);
    at += 4;
  }
  return { buffer: ring.buffer, offset, size };
}
