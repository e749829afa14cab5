import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm';

declare const WASM_PATH: string;

export function register(_ours: boolean): void {
  setWasmPaths(WASM_PATH);
}
