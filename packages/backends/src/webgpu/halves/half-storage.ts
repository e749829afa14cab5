/** Values rounded to half precision, and stored in it, two in a word. What each kernel computes: `../half.ts`. */
import * as tf from '@tensorflow/tfjs-core';
import { type HalfType, halfWords } from '../../half.ts';
import { type Attrs, input, type WebGPUBackend } from '../backend.ts';
import { dispatch, type Output } from '../recording/dispatch.ts';
import { casts, roundings } from './half-casts.ts';

const LANES = 64;

interface Pass {
  readonly key: string;
  readonly half: HalfType;
  readonly x?: tf.TensorInfo;
  readonly y: Output[0];
  /** Values; and those that a thread takes, of which `statement` is WGSL. */
  readonly size: number;
  readonly each: 1 | 2;
  readonly statement: string;
}

function pass(backend: WebGPUBackend, { key, half, x, y, size, each, statement }: Pass): tf.TensorInfo {
  const threads = Math.ceil(size / each);
  return dispatch(backend, {
    key: `${key} ${half}`,
    inputs: x ? { x: [x, 'u32'] } : {},
    outputs: { y: [y, 'u32'] },
    uniforms: { size: ['u32', size], threads: ['u32', threads] },
    workgroups: Math.ceil(threads / LANES),
    code: () => `${casts[half]}${roundings(half)}
fn nearest(bits: u32) -> u32 { return bitcast<u32>(rounded1(bitcast<f32>(bits))); }
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * ${LANES} + local;
  if (i >= u.threads) { return; }
  ${statement}
}`,
  }).y;
}

export const halfStorage = {
  RoundHalf(inputs: tf.NamedTensorInfoMap, { half, inPlace }: Attrs, backend: WebGPUBackend): tf.TensorInfo {
    const x = input(inputs, 'x');
    const size = tf.util.sizeFromShape(x.shape);
    if (!inPlace)
      return pass(backend, {
        key: 'RoundHalf',
        half,
        x,
        y: { shape: x.shape, dtype: 'float32' },
        size,
        each: 1,
        statement: 'y[i] = nearest(x[i]);',
      });
    pass(backend, { key: 'RoundHalf in place', half, y: x, size, each: 1, statement: 'y[i] = nearest(y[i]);' });
    backend.incRef(x.dataId);
    return { dataId: x.dataId, shape: x.shape, dtype: x.dtype };
  },
  EncodeHalf(inputs: tf.NamedTensorInfoMap, { half }: Attrs, backend: WebGPUBackend): tf.TensorInfo {
    const x = input(inputs, 'x');
    const size = tf.util.sizeFromShape(x.shape);
    const statement = 'y[i] = narrow(x[2 * i]) | select(0u, narrow(x[min(2 * i + 1, u.size - 1)]) << 16, 2 * i + 1 < u.size);';
    return pass(backend, { key: 'EncodeHalf', half, x, y: { shape: [halfWords(size)], dtype: 'int32' }, size, each: 2, statement });
  },
  DecodeHalf(inputs: tf.NamedTensorInfoMap, { half, shape }: Attrs, backend: WebGPUBackend): tf.TensorInfo {
    const [x, size] = [input(inputs, 'codes'), tf.util.sizeFromShape(shape)];
    const statement = 'y[2 * i] = widen(x[i] & 0xffffu); if (2 * i + 1 < u.size) { y[2 * i + 1] = widen(x[i] >> 16); }';
    return pass(backend, { key: 'DecodeHalf', half, x, y: { shape, dtype: 'float32' }, size, each: 2, statement });
  },
};
