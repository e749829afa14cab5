/** WebGL 2, for browsers without WebGPU: tfjs's own kernels. */
import type { BringUp, Reason } from '../bring-up.ts';
import { BackendError } from '../errors.ts';
import { importPackage, isPage } from '../import-package.ts';
import { isSoftwareGpu } from '../software-gpu.ts';
import { setFloatPrecision } from './float-precision.ts';
import { registerWebglKernels } from './index.ts';

const packages = ['@tensorflow/tfjs-backend-webgl'] as const;
const setUp = 'Needs a browser page with WebGL 2; in Node ask for tensorflow, webgpu or wasm';

export const webgl: BringUp = {
  packages,
  setUp,
  async prepare() {
    if (isPage() && !context()) throw new BackendError('not-available', 'useBackend', 'there is no WebGL 2', { fix: setUp });
    await importPackage('webgl', packages);
    registerWebglKernels();
  },
  async start(backend) {
    setFloatPrecision(backend);
  },
  async passOver(): Promise<Reason | undefined> {
    const gl = context();
    if (!gl) return undefined;
    const info = gl.getExtension('WEBGL_debug_renderer_info');
    const renderer = String(gl.getParameter(info?.UNMASKED_RENDERER_WEBGL ?? gl.RENDERER));
    const floats = gl.getExtension('EXT_color_buffer_float') !== null;
    gl.getExtension('WEBGL_lose_context')?.loseContext();
    if (!floats)
      return {
        why: `${renderer} renders no float32, so that tfjs would keep weights and gradients as halves`,
        fix: 'Ask for webgl by name to train in half precision',
      };
    if (isSoftwareGpu(renderer))
      return {
        why: `${renderer} imitates a GPU on the processor, where wasm is faster`,
        fix: "Install the GPU's own driver, or ask for webgl by name",
      };
    return undefined;
  },
};

/** A context of its own, as tfjs would get it in a page or a worker. */
function context(): WebGL2RenderingContext | null {
  const canvas = globalThis.document?.createElement('canvas') ?? (globalThis.OffscreenCanvas && new OffscreenCanvas(1, 1));
  return (canvas?.getContext('webgl2') as WebGL2RenderingContext | null) ?? null;
}
