/**
 * What follows the product in a fused kernel: y = activation(x + bias), with a bias of any shape that broadcasts.
 * tfjs's fused kernels take a bias of rank 1 only, and channels last only; the rest of their inputs comes here.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, input, type Kernels, offset, run, type Stock, type WasmBackend, type WasmKernel, withTemporaries } from './backend.ts';
import { channelsFirst, channelsLast, channelsLastAttrs, isChannelsFirst, weightsLast } from './channels-first.ts';
import { native } from './native.ts';

/** Activations that the native kernel applies in place. */
const inPlace: { readonly [name: string]: number } = { linear: 0, relu: 1, relu6: 2 };
const kernelOf: { readonly [name: string]: string } = { prelu: tf.Prelu, leakyrelu: tf.LeakyRelu, sigmoid: tf.Sigmoid, elu: tf.Elu };

/** Takes over `x` and returns activation(x + bias); in place where it can. */
export function finish(x: tf.TensorInfo, inputs: tf.NamedTensorInfoMap, attrs: Attrs, backend: WasmBackend): tf.TensorInfo {
  const { bias, preluActivationWeights } = inputs;
  const activation: string = attrs.activation ?? 'linear';
  let y = x;
  /** Replaces y by the result of another kernel. */
  const through = (kernel: string, others: tf.NamedTensorInfoMap, name: string, more: Attrs = {}): void => {
    const before = y;
    try {
      y = run(backend, kernel, { [name]: before, ...others }, more);
    } finally {
      backend.disposeData(before.dataId);
    }
  };
  const width = y.shape.at(-1) ?? 1;
  const perColumn = bias && bias.shape.at(-1) === width && tf.util.sizeFromShape(bias.shape) === width;
  if (bias && !perColumn) through(tf.Add, { b: bias }, 'a');
  const code = inPlace[activation];
  if (perColumn || code) {
    const rows = tf.util.sizeFromShape(y.shape) / Math.max(width, 1);
    native(backend).addBias(offset(backend, y), perColumn ? offset(backend, bias) : 0, rows, width, code ?? 0);
  }
  if (code !== undefined) return y;
  const kernel = kernelOf[activation];
  if (!kernel)
    throw new Error(
      `[wasm] the activation "${activation}" cannot be fused; expected one of ${Object.keys({ ...inPlace, ...kernelOf }).join(', ')}`,
    );
  through(kernel, preluActivationWeights ? { alpha: preluActivationWeights } : {}, 'x', { alpha: attrs.leakyreluAlpha });
  return y;
}

/** `kernel`, which takes channels last, for channels first as well. */
const anyFormat =
  (kernel: WasmKernel): WasmKernel =>
  (inputs, attrs, backend) => {
    if (!isChannelsFirst(attrs)) return kernel(inputs, attrs, backend);
    return withTemporaries(backend, (temporary) => {
      const last: tf.NamedTensorInfoMap = { ...inputs, x: temporary(channelsLast(backend, input(inputs, 'x'))) };
      for (const name of ['bias', 'preluActivationWeights'] as const) {
        const weights = inputs[name];
        if (weights) last[name] = temporary(weightsLast(backend, weights));
      }
      return channelsFirst(backend, temporary(kernel(last, channelsLastAttrs(attrs), backend)));
    });
  };

/** tfjs's fused convolution where it can; else the plain one, then {@link finish}. */
const anyBias =
  (fused: WasmKernel, plain: WasmKernel): WasmKernel =>
  (inputs, attrs, backend) => {
    const { bias } = inputs;
    // tfjs asks for the rank under which the data was first stored, not for that of the tensor.
    const rank1 = !bias || (bias.shape.length === 1 && backend.dataIdMap.get(bias.dataId).shape.length === 1);
    return rank1 ? fused(inputs, attrs, backend) : finish(plain(inputs, attrs, backend), inputs, attrs, backend);
  };

export const fusedConvs = (stock: Stock): Kernels => {
  const [conv2d, depthwise] = [stock(tf.Conv2D), stock(tf.DepthwiseConv2dNative)];
  return {
    [tf.Conv2D]: anyFormat(conv2d),
    [tf.DepthwiseConv2dNative]: anyFormat(depthwise),
    [tf.FusedConv2D]: anyFormat(anyBias(stock(tf.FusedConv2D), conv2d)),
    [tf.FusedDepthwiseConv2D]: anyFormat(anyBias(stock(tf.FusedDepthwiseConv2D), depthwise)),
  };
};
