/** Every backend, and how it is brought up. A page loads the rows that it uses. */
import type { BackendName, BringUp } from './bring-up.ts';

export const backends: { readonly [name in BackendName]: () => Promise<BringUp> } = {
  tensorflow: async () => (await import('./tensorflow/bring-up.ts')).tensorflow,
  webgpu: async () => (await import('./webgpu/bring-up.ts')).webgpu,
  wasm: async () => (await import('./wasm/bring-up.ts')).wasm,
  webgl: async () => (await import('./webgl/bring-up.ts')).webgl,
  cpu: async () => (await import('./cpu/bring-up.ts')).cpu,
};
