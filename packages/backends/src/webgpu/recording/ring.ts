/**
 * Bytes for the kernels of the open batch, side by side in one buffer. They are gathered in memory and written once, when the batch is
 * submitted. A write is in the queue before the batch that reads it and after all earlier ones: the next batch may begin at the start again.
 */
import type { WebGPUBackend } from '../backend.ts';
import { type GpuBuffer, usage } from '../device/gpu.ts';
import { submit } from './batch.ts';

export class Ring {
  readonly buffer: GpuBuffer;
  readonly bytes: ArrayBuffer;
  readonly #backend: WebGPUBackend;
  readonly #stride: number;
  #used = 0;

  /** @param stride of places, in bytes: a multiple of four. `reads`: how kernels will use the buffer. */
  constructor(backend: WebGPUBackend, { size, stride, reads }: { readonly size: number; readonly stride: number; readonly reads: number }) {
    this.#backend = backend;
    this.#stride = stride;
    this.bytes = new ArrayBuffer(size);
    this.buffer = backend.device.createBuffer({ size, usage: usage.copyDst | reads });
    const { submitQueue } = backend;
    backend.submitQueue = () => {
      if (this.#used > 0) backend.queue.writeBuffer(this.buffer, 0, this.bytes, 0, this.#used);
      this.#used = 0;
      submitQueue.call(backend);
    };
  }

  /** Where `size` bytes may be, for a kernel or a copy that is recorded next, and nothing between. Submits the open batch where it is full. */
  place(size: number): { readonly offset: number; readonly size: number } {
    const whole = Math.ceil(size / this.#stride) * this.#stride;
    if (this.#used + whole > this.bytes.byteLength) submit(this.#backend);
    const offset = this.#used;
    this.#used += whole;
    return { offset, size: whole };
  }
}
