/** Max pooling whose backward reads the place of the largest element in its window, instead of both input and output. 2-D. */
import * as tf from '@tensorflow/tfjs-core';
import { stepWords } from '../codes.ts';
import { poolInfo2d } from '../pool-window.ts';
import { type CpuKernel, values } from './kernel.ts';

/** Calls `each` for every output element and tap inside the input, taps of one output in order. */
function eachTap(s: tf.backend_util.Conv2DInfo, each: (out: number, tap: number, at: number) => void): void {
  const [, outH, outW, channels] = s.outShape;
  for (let out = 0; out < tf.util.sizeFromShape(s.outShape); out++) {
    const [c, ow, oh, b] = [
      out % channels,
      Math.floor(out / channels) % outW,
      Math.floor(out / channels / outW) % outH,
      Math.floor(out / channels / outW / outH),
    ];
    for (let tap = 0; tap < s.filterHeight * s.filterWidth; tap++) {
      const h = oh * s.strideHeight - s.padInfo.top + Math.floor(tap / s.filterWidth);
      const w = ow * s.strideWidth - s.padInfo.left + (tap % s.filterWidth);
      if (h >= 0 && h < s.inHeight && w >= 0 && w < s.inWidth) each(out, tap, ((b * s.inHeight + h) * s.inWidth + w) * channels + c);
    }
  }
}

/** Of equal elements the first, as in MaxPoolGrad. */
export const maxPoolIndex: CpuKernel = ({ x }, attrs, make) => {
  const { bits } = attrs;
  const window = poolInfo2d(x!.shape, attrs);
  const from = values(x!);
  const n = tf.util.sizeFromShape(window.outShape);
  const [best, taps, seen] = [new Float32Array(n), new Uint8Array(n), new Uint8Array(n)];
  eachTap(window, (out, tap, at) => {
    if (seen[out] && !((from[at] as number) > best[out]!)) return;
    [best[out], taps[out], seen[out]] = [from[at] as number, tap, 1];
  });
  const words = new Int32Array(stepWords(n, bits));
  const per = 32 / bits;
  taps.forEach((tap, i) => (words[Math.floor(i / per)]! |= tap << ((i % per) * bits)));
  return make([words.length], 'int32', words);
};

export const maxPoolIndexGrad: CpuKernel = ({ codes, dy }, attrs, make) => {
  const { bits, inputShape } = attrs;
  const [words, by] = [values(codes!), values(dy!)];
  const dx = new Float32Array(tf.util.sizeFromShape(inputShape));
  const per = 32 / bits;
  eachTap(poolInfo2d(inputShape, attrs), (out, tap, at) => {
    const code = ((words[Math.floor(out / per)] as number) >>> ((out % per) * bits)) & (2 ** bits - 1);
    if (code === tap) dx[at]! += by[out] as number;
  });
  return make(inputShape, 'float32', dx);
};
