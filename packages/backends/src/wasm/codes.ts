/** Codes of values that wait for backward, in one pass over the heap. What each kernel computes: `../codes.ts`. */
import * as tf from '@tensorflow/tfjs-core';
import { deltasOf, rowWords, stepWords } from '../codes.ts';
import { poolInfo2d } from '../pool-window.ts';
import { assertFloat, input, type Kernels, offset, type WasmBackend } from './backend.ts';
import { native } from './native.ts';
import { setWindow } from './window.ts';

const size = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape);
const optional = (backend: WasmBackend, x: tf.TensorInfo | undefined): number => (x ? offset(backend, x) : 0);

/** Puts small tables where the native kernels find them; floats first, and whole numbers after. */
function setTables(backend: WasmBackend, floats: readonly number[], wholes: readonly number[] = []): readonly [number, number] {
  const { shapeOffset, repsOffset } = native(backend);
  const { buffer } = backend.wasm.HEAPU8;
  new Float32Array(buffer, shapeOffset, floats.length).set(floats);
  new Int32Array(buffer, repsOffset, wholes.length).set(wholes);
  return [shapeOffset, repsOffset];
}

export const codes: Kernels = {
  EncodeSteps: (inputs, { borders, codes, bits }, backend) => {
    assertFloat('EncodeSteps', inputs);
    const x = input(inputs, 'x');
    const out = backend.makeOutput([stepWords(size(x), bits)], 'int32');
    if (bits === 8) {
      const tables = setTables(backend, borders, codes);
      native(backend).encodeStepsByHalves(offset(backend, x), offset(backend, out), size(x), ...tables, borders.length);
      return out;
    }
    const tables = setTables(backend, borders, deltasOf(codes));
    native(backend).encodeSteps(offset(backend, x), offset(backend, out), size(x), bits, ...tables, borders.length);
    return out;
  },

  DecodeSteps: (inputs, { levels, bits, shape }, backend) => {
    const codes = input(inputs, 'codes');
    const out = backend.makeOutput(shape, 'float32');
    const [table] = setTables(backend, levels);
    native(backend).decodeSteps(offset(backend, codes), optional(backend, inputs['dy']), offset(backend, out), size(out), bits, table);
    return out;
  },

  QuantizeRows: (inputs, { bits, group, seed }, backend) => {
    assertFloat('QuantizeRows', inputs);
    const x = input(inputs, 'x');
    const out = backend.makeOutput([rowWords(size(x), group, bits)], 'int32');
    native(backend).quantizeRows(offset(backend, x), offset(backend, out), size(x), group, bits, seed);
    return out;
  },

  DequantizeRows: (inputs, { bits, group, shape }, backend) => {
    const out = backend.makeOutput(shape, 'float32');
    native(backend).dequantizeRows(offset(backend, input(inputs, 'codes')), offset(backend, out), size(out), group, bits);
    return out;
  },

  SoftmaxGradRows: (inputs, { bits, group }, backend) => {
    const [codes, dy] = [input(inputs, 'codes'), input(inputs, 'dy')];
    const dx = backend.makeOutput(dy.shape, 'float32');
    native(backend).softmaxGradRows(offset(backend, codes), offset(backend, dy), offset(backend, dx), size(dy), group, bits);
    return dx;
  },

  NormGradRows: (inputs, { bits, group }, backend) => {
    const [codes, dy, rstd] = [input(inputs, 'codes'), input(inputs, 'dy'), input(inputs, 'rstd')];
    const dx = backend.makeOutput(dy.shape, 'float32');
    const [mean, scale] = [optional(backend, inputs['mean']), optional(backend, inputs['scale'])];
    const [from, by, to] = [offset(backend, codes), offset(backend, dy), offset(backend, dx)];
    native(backend).normGradRows(from, by, mean, offset(backend, rstd), scale, to, size(dy), group, bits);
    return dx;
  },

  MaxPoolIndex: (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    const info = poolInfo2d(x.shape, attrs);
    const out = backend.makeOutput([stepWords(tf.util.sizeFromShape(info.outShape), attrs['bits'])], 'int32');
    setWindow(backend, info);
    const { maxPoolIndex: run, scratch } = native(backend);
    run(offset(backend, x), offset(backend, out), attrs['bits'], scratch);
    return out;
  },

  MaxPoolIndexGrad: (inputs, attrs, backend) => {
    const [codes, dy] = [input(inputs, 'codes'), input(inputs, 'dy')];
    const dx = backend.makeOutput(attrs['inputShape'], 'float32');
    setWindow(backend, poolInfo2d(attrs['inputShape'], attrs));
    const { maxPoolIndexGradient, scratch } = native(backend);
    maxPoolIndexGradient(offset(backend, codes), offset(backend, dy), offset(backend, dx), attrs['bits'], scratch);
    return dx;
  },
};
