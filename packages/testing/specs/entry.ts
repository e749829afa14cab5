/** What a bundle of tfjs-core's specs starts with; see bundle.ts. `BACKEND` and `OURS` are set at build time. */
import * as tf from '@tensorflow/tfjs-core';
import '@tensorflow/tfjs-core/dist/public/chained_ops/register_all_chained_ops.js';
import '@tensorflow/tfjs-core/dist/register_all_gradients.js';
import { setTestEnvs, setupTestFilters } from '@tensorflow/tfjs-core/dist/jasmine_util.js';
// One of start/*.ts: bundle.ts puts the file of the backend in its place.
import { start } from './start/cpu.ts';
import type { SpecBundle } from './tape-seam.ts';

declare const BACKEND: string;
declare const OURS: boolean;

let stock = 0;

export const stockCalls: SpecBundle['stockCalls'] = () => stock;
export { calls } from './gradients.ts';

export const declareSpecs: SpecBundle['declareSpecs'] = async (include) => {
  countStockCalls();
  await start(OURS);
  if (OURS) await import('./tape.ts');
  setTestEnvs([{ name: BACKEND, backendName: BACKEND, isDataSync: BACKEND !== 'webgpu' }]);
  setupTestFilters([], include);
  await import('@tensorflow/tfjs-core/dist/tests.js');
};

function countStockCalls(): void {
  const engine = tf.engine();
  const { gradients } = engine;
  engine.gradients = (...args) => {
    stock++;
    return gradients.apply(engine, args) as never;
  };
}
