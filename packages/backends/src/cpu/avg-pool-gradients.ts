/**
 * Gradients of average pooling, 2-D and 3-D: dy is shared equally by the elements of its window that lie inside the input.
 * tfjs divides by the size of the whole window, also where forward divided by fewer ('same' padding); TensorFlow does not. With
 * padding given per side it stays that way here too, because a spec of tfjs-core demands those numbers.
 */
import * as tf from '@tensorflow/tfjs-core';

type Info = tf.backend_util.Conv3DInfo;

function poolInfo(shape: readonly number[], attrs: tf.NamedAttrMap): Info {
  const { filterSize, strides, pad, dimRoundingMode } = attrs as unknown as tf.AvgPool3DGradAttrs & { filterSize: number; strides: number };
  if (shape.length === 5)
    return tf.backend_util.computePool3DInfo(
      shape as [number, number, number, number, number],
      filterSize,
      strides,
      1,
      pad,
      dimRoundingMode,
    );
  const flat = tf.backend_util.computePool2DInfo(shape as [number, number, number, number], filterSize, strides, 1, pad, dimRoundingMode);
  const depth = { inDepth: 1, outDepth: 1, strideDepth: 1, dilationDepth: 1, filterDepth: 1, effectiveFilterDepth: 1 };
  return { ...flat, ...depth, padInfo: { ...flat.padInfo, front: 0, back: 0 } } as unknown as Info;
}

/** The input positions under output position `out` along one axis. */
function covered(out: number, stride: number, pad: number, window: number, size: number): number[] {
  const start = out * stride - pad;
  return Array.from({ length: window }, (_, i) => start + i).filter((at) => at >= 0 && at < size);
}

function avgPoolGradient(x: tf.TensorInfo, dy: ArrayLike<number>, s: Info): Float32Array {
  const dx = new Float32Array(tf.util.sizeFromShape(x.shape));
  const channels = s.inChannels;
  const whole = s.filterDepth * s.filterHeight * s.filterWidth;
  let from = 0;
  for (let b = 0; b < s.batchSize; b++)
    for (let od = 0; od < s.outDepth; od++)
      for (let oh = 0; oh < s.outHeight; oh++)
        for (let ow = 0; ow < s.outWidth; ow++, from += channels) {
          const ds = covered(od, s.strideDepth, s.padInfo.front, s.effectiveFilterDepth, s.inDepth);
          const hs = covered(oh, s.strideHeight, s.padInfo.top, s.effectiveFilterHeight, s.inHeight);
          const ws = covered(ow, s.strideWidth, s.padInfo.left, s.effectiveFilterWidth, s.inWidth);
          const share = 1 / (s.padInfo.type === 'EXPLICIT' ? whole : ds.length * hs.length * ws.length);
          for (const d of ds)
            for (const h of hs)
              for (const w of ws) {
                const to = (((b * s.inDepth + d) * s.inHeight + h) * s.inWidth + w) * channels;
                for (let c = 0; c < channels; c++) dx[to + c] = (dx[to + c] as number) + (dy[from + c] as number) * share;
              }
        }
  return dx;
}

/** What the kernels use of tfjs-backend-cpu's backend object. */
interface CpuBackend extends tf.KernelBackend {
  readonly data: { get(id: object): { readonly values: ArrayLike<number> } };
  makeTensorInfo(shape: number[], dtype: tf.DataType, values: Float32Array): tf.TensorInfo;
}

const kernelFunc: tf.KernelFunc = ({ inputs, attrs, backend }) => {
  const { input, dy } = inputs as { [name in 'input' | 'dy']: tf.TensorInfo };
  const cpu = backend as CpuBackend;
  const dx = avgPoolGradient(input, cpu.data.get(dy.dataId).values, poolInfo(input.shape, attrs as tf.NamedAttrMap));
  return cpu.makeTensorInfo(input.shape, 'float32', dx);
};

export const avgPoolGradients: readonly tf.KernelConfig[] = [tf.AvgPoolGrad, tf.AvgPool3DGrad].map((kernelName) => ({
  kernelName,
  backendName: 'cpu',
  kernelFunc,
}));
