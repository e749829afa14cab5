/** Gradients of the morphological dilation2d, at the first largest sum of each window, as on cpu. tfjs's are off by parts in a thousand on wasm. */
import * as tf from '@tensorflow/tfjs-core';
import { assertFloat, input, type Kernels, offset, type WasmKernel } from './backend.ts';
import { native } from './native.ts';
import { type Shape4D, setWindow } from './window.ts';

const gradient =
  (wanted: 'x' | 'filter'): WasmKernel =>
  (inputs, attrs, backend) => {
    assertFloat('Dilation2D gradients', inputs);
    const [x, filter, dy] = [input(inputs, 'x'), input(inputs, 'filter'), input(inputs, 'dy')];
    const { strides, pad, dilations } = attrs;
    const out = backend.makeOutput(input(inputs, wanted).shape, 'float32');
    const { dilationGradient, scratch } = native(backend);
    setWindow(
      backend,
      tf.backend_util.computeDilation2DInfo(x.shape as Shape4D, filter.shape as [number, number, number], strides, pad, 'NHWC', dilations),
    );
    const to = offset(backend, out);
    dilationGradient(
      offset(backend, x),
      offset(backend, filter),
      offset(backend, dy),
      wanted === 'x' ? to : 0,
      wanted === 'x' ? 0 : to,
      scratch,
    );
    return out;
  };

export const dilation2dGradients: Kernels = {
  [tf.Dilation2DBackpropInput]: gradient('x'),
  [tf.Dilation2DBackpropFilter]: gradient('filter'),
};
