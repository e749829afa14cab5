/** What `useBackend` asks of a backend. Each backend's folder has a `bring-up.ts` that answers; a new backend is a new row in backends.ts. */
import type * as tf from '@tensorflow/tfjs-core';

/** The backends of tfjs that `useBackend` brings up. */
export type BackendName = 'tensorflow' | 'webgpu' | 'wasm' | 'webgl' | 'cpu';

/** What `useBackend` can be told about a backend. */
export interface BackendOptions {
  /** wasm: folder or map of the `.wasm` files, as `setWasmPaths` takes it. @default found by itself in Node; beside the script in browsers */
  readonly wasmPaths?: string | Record<string, string>;
  /**
   * wasm, webgpu: most bytes that all tensors may hold; beyond, a BackendError with code 'out-of-memory'.
   * @default wasm: the whole heap, 4 GiB; webgpu: no limit
   */
  readonly maxBytes?: number;
}

/** Why a backend is not the one, and what would change that. */
export interface Reason {
  readonly why: string;
  readonly fix: string;
}

export interface BringUp {
  /** npm packages of which any one serves it, the best first. */
  readonly packages: readonly string[];
  /** What to do where it does not run, if the error does not know better: one line. */
  readonly setUp: string;
  /** The options that it takes. */
  readonly options?: readonly (keyof BackendOptions)[];
  /**
   * Imports the package and registers our kernels, so that `tf.setBackend` can make the backend.
   *
   * @throws BackendError `'not-installed'`, or `'not-available'` where it cannot run here
   */
  prepare(options: BackendOptions): Promise<void>;
  /** What is left to do once tfjs has made the backend. */
  start?(backend: tf.KernelBackend, options: BackendOptions): Promise<void>;
  /** Asked by 'auto' alone, before `prepare` opens anything: the reason to rather take a slower kind of backend here, as where a GPU is an imitation. */
  passOver?(): Promise<Reason | undefined>;
}
