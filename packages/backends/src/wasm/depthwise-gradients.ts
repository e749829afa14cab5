/** Gradients of depthwiseConv2d, any channel multiplier, stride and dilation. tfjs has neither on wasm. */
import * as tf from '@tensorflow/tfjs-core';
import { assertFloat, input, type Kernels, offset, type WasmKernel } from './backend.ts';
import { native } from './native.ts';
import { convInfo2d, setWindow } from './window.ts';

const filterGradient: WasmKernel = (inputs, attrs, backend) => {
  assertFloat(tf.DepthwiseConv2dNativeBackpropFilter, inputs);
  const [x, dy] = [input(inputs, 'x'), input(inputs, 'dy')];
  const dw = backend.makeOutput(attrs.filterShape, 'float32');
  const { depthwiseFilterGradient, scratch } = native(backend);
  setWindow(backend, convInfo2d(x.shape, attrs.filterShape, attrs, true));
  depthwiseFilterGradient(offset(backend, x), offset(backend, dw), offset(backend, dy), scratch);
  return dw;
};

const inputGradient: WasmKernel = (inputs, attrs, backend) => {
  assertFloat(tf.DepthwiseConv2dNativeBackpropInput, inputs);
  const [dy, filter] = [input(inputs, 'dy'), input(inputs, 'filter')];
  const dx = backend.makeOutput(attrs.inputShape, 'float32');
  const { depthwiseInputGradient, scratch } = native(backend);
  setWindow(backend, convInfo2d(attrs.inputShape, filter.shape, attrs, true));
  depthwiseInputGradient(offset(backend, dx), offset(backend, filter), offset(backend, dy), scratch);
  return dx;
};

export const depthwiseGradients: Kernels = {
  [tf.DepthwiseConv2dNativeBackpropFilter]: filterGradient,
  [tf.DepthwiseConv2dNativeBackpropInput]: inputGradient,
};
