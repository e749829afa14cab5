/**
 * Gradients of depthwiseConv2d with one output a channel, four channels a thread where they are a multiple of four:
 *
 *     dx[b, i, c] = sum over taps of dy[b, (i + p - d t) / s, c] · W[t, c]       dW[t, c] = sum over pixels of x[b, s o - p + d t, c] · dy[b, o, c]
 *
 * The pixels of dW are summed in strips, then the strips: in the same order each time.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type Stock, type WebGPUBackend, type WebGPUKernel, withTemporaries } from '../backend.ts';
import { prefersTiles } from '../products/plan.ts';
import { dispatch } from '../recording/dispatch.ts';
import { sumColumns } from '../rows/sum-columns.ts';
import { convInfo2d, type Window, windowUniforms } from './window.ts';

const LANES = 32;
const entry = `@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * ${LANES} + local;
  if (i >= u.size) { return; }
  let c = i % u.columns;`;

const inputCode = (type: string): string => `${entry}
  let ix = i32((i / u.columns) % u.inWidth); let row = i / (u.columns * u.inWidth);
  let iy = i32(row % u.inHeight); let b = row / u.inHeight;
  var sum = ${type}();
  for (var t = 0u; t < u.taps; t++) {
    let y = iy + u.padTop - i32(t / u.filterWidth) * u.dilationHeight; let x = ix + u.padLeft - i32(t % u.filterWidth) * u.dilationWidth;
    if (y < 0 || x < 0 || y % u.strideHeight != 0 || x % u.strideWidth != 0) { continue; }
    let oy = u32(y / u.strideHeight); let ox = u32(x / u.strideWidth);
    if (oy >= u.outHeight || ox >= u.outWidth) { continue; }
    sum += dy[((b * u.outHeight + oy) * u.outWidth + ox) * u.columns + c] * weights[t * u.columns + c];
  }
  dx[i] = sum;
}`;

const filterCode = (type: string): string => `${entry}
  let t = (i / u.columns) % u.taps; let part = i / (u.columns * u.taps);
  let dyTap = i32(t / u.filterWidth) * u.dilationHeight - u.padTop; let dxTap = i32(t % u.filterWidth) * u.dilationWidth - u.padLeft;
  var sum = ${type}();
  for (var row = part * u.each; row < min((part + 1) * u.each, u.rows); row++) {
    let y = i32(row % u.outHeight) * u.strideHeight + dyTap;
    if (y < 0 || y >= i32(u.inHeight)) { continue; }
    let line = (row / u.outHeight) * u.inHeight + u32(y);
    for (var ox = 0u; ox < u.outWidth; ox++) {
      let x = i32(ox) * u.strideWidth + dxTap;
      if (x < 0 || x >= i32(u.inWidth)) { continue; }
      sum += input[(line * u.inWidth + u32(x)) * u.columns + c] * dy[(row * u.outWidth + ox) * u.columns + c];
    }
  }
  dw[i] = sum;
}`;

const lanes = (c: Window): readonly [type: string, width: number] => (c.inChannels % 4 === 0 ? ['vec4f', 4] : ['f32', 1]);

function inputGradient(backend: WebGPUBackend, dy: tf.TensorInfo, filter: tf.TensorInfo, c: Window): tf.TensorInfo {
  const [type, width] = lanes(c);
  const size = tf.util.sizeFromShape(c.inShape) / width;
  return dispatch(backend, {
    key: 'depthwiseInputGradient',
    inputs: { dy: [dy, type], weights: [filter, type] },
    outputs: { dx: [{ shape: c.inShape, dtype: 'float32' }, type] },
    uniforms: { ...windowUniforms(c), columns: ['u32', c.inChannels / width], size: ['u32', size] },
    workgroups: Math.ceil(size / LANES),
    code: () => inputCode(type),
  }).dx;
}

function filterGradient(backend: WebGPUBackend, x: tf.TensorInfo, dy: tf.TensorInfo, c: Window): tf.TensorInfo {
  const [type, width] = lanes(c);
  const shape = [c.filterHeight, c.filterWidth, c.inChannels, 1];
  const [rows, weights] = [c.batchSize * c.outHeight, tf.util.sizeFromShape(shape)];
  const wanted = Math.floor(((prefersTiles(backend) ? 65536 : 1024) * width) / weights);
  const each = Math.ceil(rows / Math.max(1, Math.min(rows, wanted)));
  const parts = Math.ceil(rows / each);
  const size = (parts * weights) / width;
  const { dw } = dispatch(backend, {
    key: 'depthwiseFilterGradient',
    inputs: { input: [x, type], dy: [dy, type] },
    outputs: { dw: [{ shape: parts === 1 ? shape : [parts, ...shape], dtype: 'float32' }, type] },
    uniforms: {
      ...windowUniforms(c),
      columns: ['u32', c.inChannels / width],
      rows: ['u32', rows],
      each: ['u32', each],
      size: ['u32', size],
    },
    workgroups: Math.ceil(size / LANES),
    code: () => filterCode(type),
  });
  if (parts === 1) return dw;
  return withTemporaries(backend, (temporary) => sumColumns(backend, temporary(dw), { outer: 1, rows: parts, shape }));
}

export const depthwiseGradients = (stock: Stock): Kernels => {
  const either =
    (kernel: string, of: 'x' | 'filter'): WebGPUKernel =>
    (inputs, attrs, backend) => {
      const dy = input(inputs, 'dy');
      const other = input(inputs, of === 'x' ? 'filter' : 'x');
      const [xShape, filterShape] = of === 'x' ? [attrs['inputShape'], other.shape] : [other.shape, attrs['filterShape']];
      const c = convInfo2d(xShape, filterShape, attrs, true);
      const fits = filterShape[3] === 1 && [dy, other].every(({ dtype, shape }) => dtype === 'float32' && tf.util.sizeFromShape(shape) > 0);
      if (!fits) return stock(kernel)(inputs, attrs, backend);
      return of === 'x' ? inputGradient(backend, dy, other, c) : filterGradient(backend, other, dy, c);
    };
  return {
    [tf.DepthwiseConv2dNativeBackpropInput]: either(tf.DepthwiseConv2dNativeBackpropInput, 'x'),
    [tf.DepthwiseConv2dNativeBackpropFilter]: either(tf.DepthwiseConv2dNativeBackpropFilter, 'filter'),
  };
};
