/** A page that Vite builds: the .wasm files are assets, whose addresses tfjs is told. */
import { useBackend } from '@leantune/backends';
import * as convbn from '@leantune/convbn';
import * as core from '@leantune/core';
import { summarize } from '@leantune/energy/statistics';
import * as lamda from '@leantune/lamda';
import * as lora from '@leantune/lora';
import * as mixedPrecision from '@leantune/mixed-precision';
import * as s2a from '@leantune/s2a';
import * as transformers from '@leantune/transformers';
import * as tf from '@tensorflow/tfjs';
import plain from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url';
import simd from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url';
import threaded from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-threaded-simd.wasm?url';
import { exercise } from '../exercise.mjs';

const files = { 'tfjs-backend-wasm.wasm': plain, 'tfjs-backend-wasm-simd.wasm': simd, 'tfjs-backend-wasm-threaded-simd.wasm': threaded };

globalThis.report = useBackend('wasm', { wasmPaths: files }).then(() => {
  const packages = { tf, core, convbn, lamda, lora, mixedPrecision, s2a, transformers, summarize };
  return exercise(packages, 'indexeddb://adapter');
});
