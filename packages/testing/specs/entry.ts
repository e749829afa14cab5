/** What a bundle of tfjs-core's specs starts with; see bundle.ts. `BACKEND` and `OURS` are set at build time. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops';
import '@tensorflow/tfjs-core/dist/register_all_gradients';
import { setTestEnvs, setupTestFilters } from '@tensorflow/tfjs-core/dist/jasmine_util';
import type { BackendName, SpecBundle } from './tape-seam.ts';

declare const BACKEND: BackendName;
declare const OURS: boolean;

let stock = 0;

export const stockCalls: SpecBundle['stockCalls'] = () => stock;
export { calls } from './gradients.ts';

export const declareSpecs: SpecBundle['declareSpecs'] = async (include) => {
  countStockCalls();
  if (BACKEND === 'wasm') await import('./wasm.ts').then((wasm) => wasm.register(OURS));
  else await import('@tensorflow/tfjs-backend-cpu');
  if (OURS) await import('./tape.ts');
  setTestEnvs([{ name: BACKEND, backendName: BACKEND, isDataSync: true }]);
  setupTestFilters([], include);
  await import('@tensorflow/tfjs-core/dist/tests');
};

function countStockCalls(): void {
  const engine = tf.engine();
  const gradients = engine.gradients;
  engine.gradients = function (...args) {
    stock++;
    return gradients.apply(this, args);
  } as typeof gradients;
}
