/** conv3d and its gradients. tfjs's input gradient is zero for the later slices of depth; all three are scalar loops there. */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, assertFloat, input, type Kernels, offset, type WasmBackend, type WasmKernel } from './backend.ts';
import { native } from './native.ts';
import { type Shape5D, setWindow } from './window.ts';

function setWindow3d(backend: WasmBackend, inShape: readonly number[], filterShape: readonly number[], attrs: Attrs): number[] {
  const { strides, dilations = 1, pad } = attrs;
  const info = tf.backend_util.computeConv3DInfo(inShape as Shape5D, filterShape as Shape5D, strides, dilations, pad);
  setWindow(backend, info);
  return info.outShape;
}

const forward: WasmKernel = (inputs, attrs, backend) => {
  assertFloat(tf.Conv3D, inputs);
  const [x, filter] = [input(inputs, 'x'), input(inputs, 'filter')];
  const y = backend.makeOutput(setWindow3d(backend, x.shape, filter.shape, attrs), 'float32');
  const { conv, scratch } = native(backend);
  conv(offset(backend, x), offset(backend, filter), offset(backend, y), scratch);
  return y;
};

const filterGradient: WasmKernel = (inputs, attrs, backend) => {
  assertFloat(tf.Conv3DBackpropFilterV2, inputs);
  const [x, dy] = [input(inputs, 'x'), input(inputs, 'dy')];
  const dw = backend.makeOutput(attrs.filterShape, 'float32');
  const { convFilterGradient, scratch } = native(backend);
  setWindow3d(backend, x.shape, attrs.filterShape, attrs);
  convFilterGradient(offset(backend, x), offset(backend, dw), offset(backend, dy), scratch);
  return dw;
};

const inputGradient: WasmKernel = (inputs, attrs, backend) => {
  assertFloat(tf.Conv3DBackpropInputV2, inputs);
  const [dy, filter] = [input(inputs, 'dy'), input(inputs, 'filter')];
  const dx = backend.makeOutput(attrs.inputShape, 'float32');
  const { convInputGradient, scratch } = native(backend);
  setWindow3d(backend, attrs.inputShape, filter.shape, attrs);
  convInputGradient(offset(backend, dx), offset(backend, filter), offset(backend, dy), scratch);
  return dx;
};

export const conv3d: Kernels = {
  [tf.Conv3D]: forward,
  [tf.Conv3DBackpropFilterV2]: filterGradient,
  [tf.Conv3DBackpropInputV2]: inputGradient,
};
