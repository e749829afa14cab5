/**
 * Gradients of conv2d (and so of conv1d and conv2dTranspose). tfjs lacks the filter's, and its input's is a scalar loop.
 *
 *     dx = dy * rot180(W)        dW[tap] = sum over pixels of x^T dy
 *
 * Tensors that have channels first are transposed, computed, and transposed back.
 */
import * as tf from '@tensorflow/tfjs-core';
import { assertFloat, channelsFirst, channelsLast, input, type Kernels, offset, type WasmKernel, withTemporaries } from './backend.ts';
import { native } from './native.ts';
import { convInfo2d, setWindow } from './window.ts';

const filterGradient: WasmKernel = (inputs, attrs, backend) =>
  withTemporaries(backend, (temporary) => {
    assertFloat(tf.Conv2DBackpropFilter, inputs);
    const last = (name: string) => (attrs.dataFormat === 'NCHW' ? temporary(channelsLast(backend, input(inputs, name))) : input(inputs, name));
    const x = last('x');
    const dy = last('dy');
    const dw = backend.makeOutput(attrs.filterShape, 'float32');
    const { convFilterGradient, scratch } = native(backend);
    setWindow(backend, convInfo2d(x.shape, attrs.filterShape, attrs));
    convFilterGradient(offset(backend, x), offset(backend, dw), offset(backend, dy), scratch);
    return dw;
  });

const inputGradient: WasmKernel = (inputs, attrs, backend) =>
  withTemporaries(backend, (temporary) => {
    assertFloat(tf.Conv2DBackpropInput, inputs);
    const filter = input(inputs, 'filter');
    const first = attrs.dataFormat === 'NCHW';
    const dy = first ? temporary(channelsLast(backend, input(inputs, 'dy'))) : input(inputs, 'dy');
    const [b, ...rest] = attrs.inputShape as number[];
    const shape = first ? [b, rest[1], rest[2], rest[0]] : [b, ...rest];
    const dx = backend.makeOutput(shape as number[], 'float32');
    const { convInputGradient, scratch } = native(backend);
    setWindow(backend, convInfo2d(dx.shape, filter.shape, attrs));
    convInputGradient(offset(backend, dx), offset(backend, filter), offset(backend, dy), scratch);
    return first ? channelsFirst(backend, temporary(dx)) : dx;
  });

export const conv2dGradients: Kernels = { [tf.Conv2DBackpropFilter]: filterGradient, [tf.Conv2DBackpropInput]: inputGradient };
