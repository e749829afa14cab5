/**
 * Gradients of conv2d (and so of conv1d and conv2dTranspose). tfjs lacks the filter's, and its input's is a scalar loop.
 *
 *     dx = dy * rot180(W)        dW[tap] = sum over pixels of x^T dy
 */
import * as tf from '@tensorflow/tfjs-core';
import {
  type Attrs,
  assertFloat,
  input,
  type Kernels,
  offset,
  run,
  type WasmBackend,
  type WasmKernel,
  withTemporaries,
} from './backend.ts';
import { channelsFirst, channelsLast, channelsLastAttrs, isChannelsFirst } from './channels-first.ts';
import { native } from './native.ts';
import { convInfo2d, setWindow } from './window.ts';

function filterGradient(x: tf.TensorInfo, dy: tf.TensorInfo, attrs: Attrs, backend: WasmBackend): tf.TensorInfo {
  const dw = backend.makeOutput(attrs.filterShape, 'float32');
  const { convFilterGradient, scratch } = native(backend);
  setWindow(backend, convInfo2d(x.shape, attrs.filterShape, attrs));
  convFilterGradient(offset(backend, x), offset(backend, dw), offset(backend, dy), scratch);
  return dw;
}

function inputGradient(dy: tf.TensorInfo, filter: tf.TensorInfo, inputShape: number[], attrs: Attrs, backend: WasmBackend): tf.TensorInfo {
  const dx = backend.makeOutput(inputShape, 'float32');
  const { convInputGradient, scratch } = native(backend);
  setWindow(backend, convInfo2d(inputShape, filter.shape, attrs));
  convInputGradient(offset(backend, dx), offset(backend, filter), offset(backend, dy), scratch);
  return dx;
}

const backpropFilter: WasmKernel = (inputs, attrs, backend) => {
  assertFloat(tf.Conv2DBackpropFilter, inputs);
  const [x, dy] = [input(inputs, 'x'), input(inputs, 'dy')];
  if (!isChannelsFirst(attrs)) return filterGradient(x, dy, attrs, backend);
  return withTemporaries(backend, (temporary) =>
    filterGradient(temporary(channelsLast(backend, x)), temporary(channelsLast(backend, dy)), channelsLastAttrs(attrs), backend),
  );
};

const backpropInput: WasmKernel = (inputs, attrs, backend) =>
  withTemporaries(backend, (temporary) => {
    assertFloat(tf.Conv2DBackpropInput, inputs);
    const [dy, filter] = [input(inputs, 'dy'), input(inputs, 'filter')];
    if (isChannelsFirst(attrs)) {
      const [b, c, h, w] = attrs.inputShape;
      const dx = inputGradient(temporary(channelsLast(backend, dy)), filter, [b, h, w, c], channelsLastAttrs(attrs), backend);
      return channelsFirst(backend, temporary(dx));
    }
    const { outShape } = convInfo2d(attrs.inputShape, filter.shape, attrs);
    if (outShape.every((size, axis) => size === dy.shape[axis])) return inputGradient(dy, filter, attrs.inputShape, attrs, backend);
    // conv2dTranspose with a stride and outputShape that do not match its input: as on cpu, what lies outside is not read.
    const cropped = temporary(run(backend, tf.Slice, { x: dy }, { begin: [0, 0, 0, 0], size: outShape }));
    return inputGradient(cropped, filter, attrs.inputShape, attrs, backend);
  });

export const conv2dGradients: Kernels = { [tf.Conv2DBackpropFilter]: backpropFilter, [tf.Conv2DBackpropInput]: backpropInput };
