/** Convolutions and their gradients with any padding, as one op each; tfjs-node has those with 'same' and 'valid' padding. */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs, Kernel, KernelMap, StockKernel } from '../kernels.ts';
import { DType, type TensorflowBackend } from './binding.ts';
import { type ConvInfo, convInfo, sides, windowAttrs } from './padding.ts';
import { type, withOps } from './raw.ts';

type TensorflowKernel = Kernel<TensorflowBackend, tf.TensorInfo>;

/** How a kernel reads its inputs: the geometry, and the op's operands, of which a shape is a constant. */
export interface Convolution {
  readonly info: (inputs: tf.NamedTensorInfoMap, attrs: Attrs) => ConvInfo;
  readonly operands: (inputs: tf.NamedTensorInfoMap, info: ConvInfo) => readonly (tf.TensorInfo | readonly number[])[];
}

const forward = (depthwise: boolean): Convolution => ({
  info: ({ x, filter }, attrs) => convInfo(x!.shape, filter!.shape, attrs, depthwise),
  operands: ({ x, filter }) => [x!, filter!],
});
const ofInput = (depthwise: boolean): Convolution => ({
  info: ({ filter }, attrs) => convInfo(attrs['inputShape'], filter!.shape, attrs, depthwise),
  operands: ({ dy, filter }, { inShape }) => [inShape, filter!, dy!],
});
const ofFilter = (depthwise: boolean): Convolution => ({
  info: ({ x }, attrs) => convInfo(x!.shape, attrs['filterShape'], attrs, depthwise),
  operands: ({ x, dy }, { filterShape }) => [x!, filterShape, dy!],
});

/** By kernel; each is TensorFlow's op of that name. */
export const convolutions: { readonly [kernel: string]: Convolution } = {
  [tf.Conv2D]: forward(false),
  [tf.Conv2DBackpropInput]: ofInput(false),
  [tf.Conv2DBackpropFilter]: ofFilter(false),
  [tf.DepthwiseConv2dNative]: forward(true),
  [tf.DepthwiseConv2dNativeBackpropInput]: ofInput(true),
  [tf.DepthwiseConv2dNativeBackpropFilter]: ofFilter(true),
};

/** tfjs-node's kernel where it can, ours where the padding is given by numbers. */
export const convs = (stock: StockKernel<TensorflowBackend, tf.TensorInfo>): KernelMap<TensorflowBackend, tf.TensorInfo> => {
  const any = (kernel: string, { info: infoOf, operands }: Convolution): TensorflowKernel => {
    const plain = stock(kernel);
    return (inputs, attrs, backend) => {
      const info = infoOf(inputs, attrs);
      if (!sides(info)) return plain(inputs, attrs, backend);
      return withOps(backend, ({ run, constant, leave }) => {
        const given = operands(inputs, info).map((x) => ('dataId' in x ? x : constant(Int32Array.from(x))));
        return leave(run(kernel, { T: type(DType.float), ...windowAttrs(info) }, given), 'float32');
      });
    };
  };
  return Object.fromEntries(Object.entries(convolutions).map(([kernel, convolution]) => [kernel, any(kernel, convolution)]));
};
