/**
 * Gradients of max and average pooling, 2-D and 3-D.
 *
 * tfjs loses the gradient of a max window without a positive element, and divides an average by the whole window where
 * forward divided by the elements inside the input ('same' padding). One exception stays as it is in tfjs: with padding
 * given per side, avgPool's gradient divides by the whole window, because a spec of tfjs-core demands those numbers.
 * Of equal elements the first has the gradient in 2-D and the last in 3-D, as on cpu.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, assertFloat, input, type Kernels, offset, type WasmBackend, type WasmKernel } from './backend.ts';
import { native } from './native.ts';
import { type Info, type Shape4D, type Shape5D, setWindow } from './window.ts';

function setPoolWindow(backend: WasmBackend, shape: readonly number[], attrs: Attrs): Info {
  const { filterSize, strides, pad, dimRoundingMode } = attrs;
  const info =
    shape.length === 4
      ? tf.backend_util.computePool2DInfo(shape as Shape4D, filterSize, strides, 1, pad, dimRoundingMode)
      : tf.backend_util.computePool3DInfo(shape as Shape5D, filterSize, strides, 1, pad, dimRoundingMode);
  setWindow(backend, info);
  return info;
}

const maxPool: WasmKernel = (inputs, attrs, backend) => {
  assertFloat('MaxPoolGrad', inputs);
  const [x, dy] = [input(inputs, 'input'), input(inputs, 'dy')];
  const dx = backend.makeOutput(x.shape, 'float32');
  const { maxPoolGradient, scratch } = native(backend);
  setPoolWindow(backend, x.shape, attrs);
  maxPoolGradient(offset(backend, x), offset(backend, dy), offset(backend, dx), x.shape.length === 5, scratch);
  return dx;
};

const avgPool: WasmKernel = (inputs, attrs, backend) => {
  assertFloat('AvgPoolGrad', inputs);
  const [x, dy] = [input(inputs, 'input'), input(inputs, 'dy')];
  const dx = backend.makeOutput(x.shape, 'float32');
  const { avgPoolGradient, scratch } = native(backend);
  const { padInfo } = setPoolWindow(backend, x.shape, attrs);
  avgPoolGradient(offset(backend, dy), offset(backend, dx), padInfo.type === 'EXPLICIT', scratch);
  return dx;
};

export const poolGradients: Kernels = {
  [tf.MaxPoolGrad]: maxPool,
  [tf.MaxPool3DGrad]: maxPool,
  [tf.AvgPoolGrad]: avgPool,
  [tf.AvgPool3DGrad]: avgPool,
};
