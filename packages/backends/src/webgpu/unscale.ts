/**
 * Gradients divided by the scale of their loss, in place, and whether all of them are finite, as many in one kernel as it may bind: what
 * torch calls _amp_foreach_non_finite_check_and_unscale_.
 *
 *   Unscale    inputs: the gradients, any names; attrs.factor → a bool of one element
 *
 * Nothing else may read their buffers. They are multiplied also where one of them is not finite.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs, Kernels, WebGPUBackend } from './backend.ts';
import { dispatch } from './dispatch.ts';

const LANES = 64;
/** Elements of the largest gradient that a thread takes. */
const EACH = 8;

export const unscales: Kernels = {
  Unscale(inputs, { factor }: Attrs, backend): tf.TensorInfo {
    const gradients = Object.values(inputs).filter((x): x is tf.TensorInfo => tf.util.sizeFromShape(x!.shape) > 0);
    const finite = backend.makeTensorInfo([1], 'bool', Uint8Array.of(1));
    const most = backend.device.limits.maxStorageBuffersPerShaderStage - 1;
    for (let at = 0; at < gradients.length; at += most) unscale(backend, gradients.slice(at, at + most), factor, finite);
    return finite;
  },
};

function unscale(backend: WebGPUBackend, gradients: readonly tf.TensorInfo[], factor: number, finite: tf.TensorInfo): void {
  const sizes = gradients.map(({ shape }) => tf.util.sizeFromShape(shape));
  const groups = Math.ceil(Math.max(...sizes) / LANES / EACH);
  dispatch(backend, {
    key: `unscale ${gradients.length}`,
    inputs: {},
    outputs: {
      ...Object.fromEntries(gradients.map((g, i) => [`g${i}`, [g, 'f32'] as const])),
      finite: [finite, 'atomic<i32>'],
    },
    uniforms: {
      factor: ['f32', factor],
      ...Object.fromEntries(sizes.map((size, i) => [`size${i}`, ['u32', size] as const])),
    },
    workgroups: groups,
    code: () => `
@compute @workgroup_size(${LANES})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let thread = flat(group, groups) * ${LANES} + local;
  let threads = groups.x * groups.y * groups.z * ${LANES};
  var wrong = false;
  ${gradients
    .map(
      (_, i) => `for (var i = thread; i < u.size${i}; i += threads) {
    wrong = wrong || (bitcast<u32>(g${i}[i]) & 0x7f800000u) == 0x7f800000u;
    g${i}[i] *= u.factor;
  }`,
    )
    .join('\n  ')}
  if (wrong) { atomicStore(&finite[0], 0); }
}`,
  });
}
