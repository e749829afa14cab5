/**
 * Values rounded to half precision, and stored in it, two in a word. What each kernel computes: `../half.ts`. In whole numbers, on the
 * bits as they are: WGSL leaves pack2x16float's rounding, and what it does out of range, to the device.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type HalfType, halfWords } from '../half.ts';
import { type Attrs, input, type WebGPUBackend } from './backend.ts';
import { dispatch, type Output } from './dispatch.ts';

const LANES = 64;

/** WGSL of the function `widen`, from the bits of a half to those of a float32. */
export const widenings: { readonly [half in HalfType]: string } = {
  float16: `
fn widen(half: u32) -> u32 {
  let sign = (half & 0x8000u) << 16;
  let size = half & 0x7fffu;
  if (size >= 0x7c00u) { return sign | 0x7f800000u | ((size & 0x3ffu) << 13); }
  if (size >= 0x400u) { return sign | ((size << 13) + 0x38000000u); }
  if (size == 0u) { return sign; }
  let top = firstLeadingBit(size);
  return sign | ((top + 103u) << 23) | ((size << (23u - top)) & 0x7fffffu);
}`,
  bfloat16: `
fn widen(half: u32) -> u32 { return half << 16; }`,
};

/** And of `narrow`, back. */
const narrowings: { readonly [half in HalfType]: string } = {
  float16: `
fn narrow(bits: u32) -> u32 {
  let sign = (bits >> 16) & 0x8000u;
  let size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) { return sign | 0x7e00u; } // NaN
  if (size >= 0x477ff000u) { return sign | 0x7c00u; } // from 65520
  if (size >= 0x38800000u) { return sign | ((size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13); }
  if (size <= 0x33000000u) { return sign; } // up to 2^-25
  let shift = 126u - (size >> 23); // subnormal
  let mantissa = (size & 0x7fffffu) | 0x800000u;
  let below = mantissa >> shift;
  let rest = mantissa - (below << shift);
  let middle = 1u << (shift - 1u);
  return sign | (below + u32(rest > middle || (rest == middle && (below & 1u) == 1u)));
}`,
  bfloat16: `
fn narrow(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return ((bits >> 16) & 0x8000u) | 0x7fc0u; }
  return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
}`,
};

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
    code: () => `${narrowings[half]}${widenings[half]}
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
        statement: 'y[i] = widen(narrow(x[i]));',
      });
    pass(backend, { key: 'RoundHalf in place', half, y: x, size, each: 1, statement: 'y[i] = widen(narrow(y[i]));' });
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
