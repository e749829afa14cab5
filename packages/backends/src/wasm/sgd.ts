/**
 * One step of gradient descent where the weights lie, w ← w - α g, for core's `SgdUpdate`: tfjs makes α g and the new weights beside the old
 * ones, two temporaries of the largest weight's size. Rounds as those two ops do, so weights are tfjs's bit for bit.
 */
import * as tf from '@tensorflow/tfjs-core';
import { assertFloat, input, type Kernels, offset, type WasmBackend } from './backend.ts';

const sizeOf = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const floats = (backend: WasmBackend, x: tf.TensorInfo): Float32Array =>
  new Float32Array(backend.wasm.HEAPU8.buffer, offset(backend, x), sizeOf(x));

/** XNNPACK keeps filters that it has packed until their tensor goes: for it, the weights are a tensor that went and a new one. */
function forgetPacked({ wasm, dataIdMap }: WasmBackend, x: tf.TensorInfo): void {
  const { id, memoryOffset } = dataIdMap.get(x.dataId);
  wasm.tfjs.disposeData(id);
  wasm.tfjs.registerTensor(id, sizeOf(x), memoryOffset);
}

export const descents: Kernels = {
  SgdUpdate({ finite, ...inputs }, { rate }, backend) {
    assertFloat('SgdUpdate', inputs);
    const variable = input(inputs, 'variable');
    if (finite && backend.wasm.HEAPU8[offset(backend, finite)] === 0) return variable;
    const [weights, gradient] = [floats(backend, variable), floats(backend, input(inputs, 'gradient'))];
    const minus = Math.fround(-rate);
    for (let i = 0; i < weights.length; i++) weights[i] = weights[i]! + Math.fround(minus * gradient[i]!);
    forgetPacked(backend, variable);
    return variable;
  },
};
