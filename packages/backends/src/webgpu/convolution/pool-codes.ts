/** Max pooling that waits as the place in its window: a thread packs a word, and sums what reaches an element. See `../codes.ts`. */
import type * as tf from '@tensorflow/tfjs-core';
import { stepWords } from '../../codes.ts';
import { poolInfo2d } from '../../pool-window.ts';
import { input, type Kernels } from '../backend.ts';
import { codeAt } from '../elements/step-codes.ts';
import { dispatch } from '../recording/dispatch.ts';
import { entry, groupsFor } from '../recording/entry.ts';
import { windowUniforms } from './window.ts';

const count = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1);
const uniformsOf = (s: tf.backend_util.Conv2DInfo, threads: number) =>
  ({ threads: ['u32', threads], size: ['u32', count(s.outShape)], ...windowUniforms(s), filterHeight: ['i32', s.filterHeight] }) as const;

export const poolCodes: Kernels = {
  MaxPoolIndex: (inputs, attrs, backend) => {
    const [x, { bits }] = [input(inputs, 'x'), attrs];
    const s = poolInfo2d(x.shape, attrs);
    const words = stepWords(count(s.outShape), bits);
    return dispatch(backend, {
      key: `MaxPoolIndex ${bits}`,
      inputs: { x: [x, 'f32'] },
      outputs: { packed: [{ shape: [words], dtype: 'int32' }, 'u32'] },
      uniforms: uniformsOf(s, words),
      workgroups: groupsFor(words),
      code: () => `
fn place(out: u32) -> u32 {
  let c = out % u.outChannels; let column = (out / u.outChannels) % u.outWidth;
  let row = (out / (u.outChannels * u.outWidth)) % u.outHeight; let b = out / (u.outChannels * u.outWidth * u.outHeight);
  var found = 0u; var best = 0.0; var any = false;
  for (var tap = 0u; tap < u.taps; tap++) {
    let h = i32(row) * u.strideHeight - u.padTop + i32(tap / u.filterWidth);
    let w = i32(column) * u.strideWidth - u.padLeft + i32(tap % u.filterWidth);
    if (h < 0 || h >= i32(u.inHeight) || w < 0 || w >= i32(u.inWidth)) { continue; }
    let v = x[((b * u.inHeight + u32(h)) * u.inWidth + u32(w)) * u.inChannels + c];
    if (!any || v > best) { best = v; found = tap; any = true; }
  }
  return found;
}
${entry}
  var word = 0u;
  let first = i * ${32 / bits};
  for (var k = 0u; k < min(${32 / bits}u, u.size - first); k++) { word |= place(first + k) << (k * ${bits}); }
  packed[i] = word;
}`,
    }).packed;
  },

  MaxPoolIndexGrad: (inputs, attrs, backend) => {
    const { bits, inputShape } = attrs;
    const s = poolInfo2d(inputShape, attrs);
    const n = count(inputShape);
    return dispatch(backend, {
      key: `MaxPoolIndexGrad ${bits}`,
      inputs: { codes: [input(inputs, 'codes'), 'u32'], dy: [input(inputs, 'dy'), 'f32'] },
      outputs: { dx: [{ shape: inputShape, dtype: 'float32' }, 'f32'] },
      uniforms: uniformsOf(s, n),
      workgroups: groupsFor(n),
      code: () => `${entry}
  let c = i % u.inChannels; let w = i32((i / u.inChannels) % u.inWidth) + u.padLeft;
  let h = i32((i / (u.inChannels * u.inWidth)) % u.inHeight) + u.padTop; let b = i / (u.inChannels * u.inWidth * u.inHeight);
  let width = i32(u.filterWidth);
  var sum = 0.0;
  for (var row = max(0, (h - u.filterHeight + u.strideHeight) / u.strideHeight); row <= min(h / u.strideHeight, i32(u.outHeight) - 1); row++) {
    for (var column = max(0, (w - width + u.strideWidth) / u.strideWidth); column <= min(w / u.strideWidth, i32(u.outWidth) - 1); column++) {
      let tap = (h - row * u.strideHeight) * width + w - column * u.strideWidth;
      let out = ((b * u.outHeight + u32(row)) * u.outWidth + u32(column)) * u.outChannels + c;
      if (i32(${codeAt('codes', 'out', bits)}) == tap) { sum += dy[out]; }
    }
  }
  dx[i] = sum;
}`,
    }).dx;
  },
};
