import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';
import { registerWasmKernels } from '../../../backends/src/wasm/index.ts';

/** Where tfjs-backend-wasm keeps its `.wasm` files; set at build time. */
declare const WASM_PATH: string;

/** Readies the wasm backend, with our kernels unless `stock`. */
export async function start(ours: boolean): Promise<void> {
  setWasmPaths(WASM_PATH);
  if (ours) await registerWasmKernels();
}
