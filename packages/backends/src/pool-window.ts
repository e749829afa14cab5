/** The windows of pooling, 2-D and 3-D. */
import * as tf from '@tensorflow/tfjs-core';

export type PoolInfo = tf.backend_util.Conv3DInfo;

/** The windows over an input [batch, height, width, channels]. */
export function poolInfo2d(shape: readonly number[], attrs: object): tf.backend_util.Conv2DInfo {
  const { filterSize, strides, pad, dimRoundingMode } = attrs as tf.MaxPoolAttrs;
  return tf.backend_util.computePool2DInfo(shape as [number, number, number, number], filterSize, strides, 1, pad, dimRoundingMode);
}

/** The windows over an input of `shape`, of rank 4 or 5; 2-D pooling has one slice of depth. */
export function poolInfo(shape: readonly number[], attrs: object): PoolInfo {
  const { filterSize, strides, pad, dimRoundingMode } = attrs as tf.AvgPool3DGradAttrs & { filterSize: number; strides: number };
  if (shape.length === 5)
    return tf.backend_util.computePool3DInfo(
      shape as [number, number, number, number, number],
      filterSize,
      strides,
      1,
      pad,
      dimRoundingMode,
    );
  const flat = poolInfo2d(shape, attrs);
  const depth = { inDepth: 1, outDepth: 1, strideDepth: 1, dilationDepth: 1, filterDepth: 1, effectiveFilterDepth: 1 };
  return { ...flat, ...depth, padInfo: { ...flat.padInfo, front: 0, back: 0 } } as unknown as PoolInfo;
}

/** The input positions under output position `out` along one axis. */
export function covered(out: number, stride: number, pad: number, window: number, size: number): number[] {
  const start = out * stride - pad;
  return Array.from({ length: window }, (_, i) => start + i).filter((at) => at >= 0 && at < size);
}
