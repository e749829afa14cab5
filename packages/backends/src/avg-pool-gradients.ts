/**
 * Gradients of average pooling with padding, from kernels that get them wrong: tfjs divides dy by the size of the whole window, where
 * forward divided by the elements inside the input. So dy is multiplied by the ratio first, which leaves whole windows as they are.
 * Padding given per side stays as it is: a spec of tfjs-core demands those numbers.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernel, type KernelMap, type StockKernel, withTemporaries } from './kernels.ts';
import { covered, type PoolInfo, poolInfo } from './pool-window.ts';

/** What they use of a backend. */
export interface PoolBackend {
  makeTensorInfo(shape: number[], dtype: tf.DataType, values: Float32Array): tf.TensorInfo;
  disposeData(dataId: object): boolean;
}

/** Elements of the window over those inside the input, by output position: [1, outDepth, outHeight, outWidth, 1] flat. */
function ratios(s: PoolInfo): Float32Array {
  const counts = (out: number, ...window: [stride: number, pad: number, window: number, size: number]): number[] =>
    Array.from({ length: out }, (_, i) => covered(i, ...window).length);
  const depths = counts(s.outDepth, s.strideDepth, s.padInfo.front, s.effectiveFilterDepth, s.inDepth);
  const heights = counts(s.outHeight, s.strideHeight, s.padInfo.top, s.effectiveFilterHeight, s.inHeight);
  const widths = counts(s.outWidth, s.strideWidth, s.padInfo.left, s.effectiveFilterWidth, s.inWidth);
  const whole = s.filterDepth * s.filterHeight * s.filterWidth;
  return Float32Array.from(depths.flatMap((d) => heights.flatMap((h) => widths.map((w) => whole / (d * h * w)))));
}

function corrected<B extends PoolBackend, R extends tf.TensorInfo | tf.TensorInfo[]>(
  kernel: string,
  stock: StockKernel<B, R>,
): Kernel<B, R> {
  const [gradient, multiply] = [stock(kernel), stock(tf.Multiply)];
  return (inputs, attrs, backend) => {
    const info = poolInfo(input(inputs, 'input').shape, attrs);
    const scale = ratios(info);
    if (info.padInfo.type === 'EXPLICIT' || scale.every((ratio) => ratio === 1)) return gradient(inputs, attrs, backend);
    return withTemporaries(backend, (temporary) => {
      const dy = input(inputs, 'dy');
      const [depth, ...plane] = [info.outDepth, info.outHeight, info.outWidth, 1];
      const b = temporary(backend.makeTensorInfo(dy.shape.length === 5 ? [1, depth!, ...plane] : [1, ...plane], 'float32', scale));
      return gradient({ ...inputs, dy: temporary(multiply({ a: dy, b }, {}, backend) as tf.TensorInfo) }, attrs, backend);
    });
  };
}

export const avgPoolGradients = <B extends PoolBackend, R extends tf.TensorInfo | tf.TensorInfo[]>(
  stock: StockKernel<B, R>,
): KernelMap<B, R> => ({
  [tf.AvgPoolGrad]: corrected(tf.AvgPoolGrad, stock),
  [tf.AvgPool3DGrad]: corrected(tf.AvgPool3DGrad, stock),
});
