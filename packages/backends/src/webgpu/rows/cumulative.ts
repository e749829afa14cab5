/**
 * Running sums and products along any axis: one thread a line, in order, so that it is exact for integers and repeats to the bit.
 * tfjs's doubles its stride by `i32(pow(2, i))`, which some drivers round down: sums are then wrong, and so is the gradient of prod.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type WebGPUKernel } from '../backend.ts';
import { dispatch } from '../recording/dispatch.ts';

const cumulative =
  (operator: '+' | '*', start: 0 | 1): WebGPUKernel =>
  (inputs, { axis, exclusive, reverse }, backend) => {
    const x = input(inputs, 'x');
    const [at = 0] = tf.util.parseAxisParam(axis, x.shape);
    const length = x.shape[at] ?? 1;
    const inner = tf.util.sizeFromShape(x.shape.slice(at + 1));
    const lines = tf.util.sizeFromShape(x.shape) / Math.max(length, 1);
    const element = x.dtype === 'float32' ? 'f32' : 'i32';
    const { y } = dispatch(backend, {
      key: `cumulative ${operator} ${exclusive ? 'exclusive' : ''} ${reverse ? 'reverse' : ''}`,
      inputs: { x: [x, element] },
      outputs: { y: [{ shape: x.shape, dtype: x.dtype }, element] },
      uniforms: { lines: ['u32', lines], length: ['u32', length], inner: ['u32', inner] },
      workgroups: Math.ceil(lines / 64),
      code: () => `
        @compute @workgroup_size(64)
        fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
          let line = flat(group, groups) * 64 + local;
          if (line >= u.lines) { return; }
          let first = line / u.inner * u.length * u.inner + line % u.inner;
          var sum = ${element}(${start});
          for (var i = 0u; i < u.length; i++) {
            let at = first + ${reverse ? '(u.length - 1 - i)' : 'i'} * u.inner;
            ${exclusive ? `y[at] = sum; sum = sum ${operator} x[at];` : `sum = sum ${operator} x[at]; y[at] = sum;`}
          }
        }`,
    });
    return y;
  };

export const cumulatives: Kernels = { [tf.Cumsum]: cumulative('+', 0), [tf.Cumprod]: cumulative('*', 1) };
