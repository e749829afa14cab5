/**
 * Gradients of average pooling, 2-D and 3-D: dy is shared equally by the elements of its window that lie inside the input.
 * tfjs divides by the size of the whole window, also where forward divided by fewer ('same' padding); TensorFlow does not. With
 * padding given per side it stays that way here too, because a spec of tfjs-core demands those numbers.
 */
import * as tf from '@tensorflow/tfjs-core';
import { covered, type PoolInfo, poolInfo } from '../pool-window.ts';

function avgPoolGradient(x: tf.TensorInfo, dy: ArrayLike<number>, s: PoolInfo): Float32Array {
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
