/** Max pooling that waits as the place in its window, in words of 24 bits. What each kernel computes: `../codes.ts`. */
import type * as tf from '@tensorflow/tfjs-core';
import { input, type KernelMap } from '../kernels.ts';
import { poolInfo2d } from '../pool-window.ts';
import { codeIn, packed } from './codes.ts';
import { perWord, run, type WebglBackend } from './program.ts';

const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);

/** The coordinates of element `i` of a tensor [batch, height, width, channels]. */
const place = (i: string, height: number, width: number, channels: number): string => `
  int c = ${i} % ${channels}; int column = (${i} / ${channels}) % ${width};
  int row = (${i} / ${channels * width}) % ${height}; int b = ${i} / ${channels * width * height};`;

export const poolCodes: KernelMap<WebglBackend, tf.TensorInfo> = {
  MaxPoolIndex: (inputs, attrs, backend) => {
    const [x, { bits }] = [input(inputs, 'x'), attrs];
    const s = poolInfo2d(x.shape, attrs);
    const n = count(s.outShape);
    const functions = `
float code(int i) {${place('i', s.outHeight, s.outWidth, s.outChannels)}
  int found = 0; float best = 0.0; bool any = false;
  for (int tap = 0; tap < ${s.filterHeight * s.filterWidth}; tap++) {
    int h = row * ${s.strideHeight} - ${s.padInfo.top} + tap / ${s.filterWidth};
    int w = column * ${s.strideWidth} - ${s.padInfo.left} + tap % ${s.filterWidth};
    if (h < 0 || h >= ${s.inHeight} || w < 0 || w >= ${s.inWidth}) continue;
    float v = getX(((b * ${s.inHeight} + h) * ${s.inWidth} + w) * ${s.inChannels} + c);
    if (!any || v > best) { best = v; found = tap; any = true; }
  }
  return float(found);
}
${packed(bits)}`;
    return run(backend, { x }, [Math.ceil(n / perWord(bits))], functions, `pack(i * ${perWord(bits)}, ${n})`);
  },

  MaxPoolIndexGrad: (inputs, attrs, backend) => {
    const { bits, inputShape } = attrs;
    const s = poolInfo2d(inputShape, attrs);
    const code = codeIn(`getCodes(place / ${perWord(bits)})`, 'place', bits);
    const functions = `
float dxOf(int i) {${place('i', s.inHeight, s.inWidth, s.inChannels)}
  float sum = 0.0;
  for (int tap = 0; tap < ${s.filterHeight * s.filterWidth}; tap++) {
    int h = row + ${s.padInfo.top} - tap / ${s.filterWidth};
    int w = column + ${s.padInfo.left} - tap % ${s.filterWidth};
    if (h < 0 || w < 0 || h % ${s.strideHeight} != 0 || w % ${s.strideWidth} != 0) continue;
    h /= ${s.strideHeight}; w /= ${s.strideWidth};
    if (h >= ${s.outHeight} || w >= ${s.outWidth}) continue;
    int place = ((b * ${s.outHeight} + h) * ${s.outWidth} + w) * ${s.outChannels} + c;
    if (${code} == tap) sum += getDy(place);
  }
  return sum;
}`;
    return run(backend, { codes: input(inputs, 'codes'), dy: input(inputs, 'dy') }, inputShape, functions, 'dxOf(i)');
  },
};
