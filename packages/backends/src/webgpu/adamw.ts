/**
 * A step of AdamW in one kernel, in place: reads the gradient, moves the weights and both moments, makes no temporaries.
 *
 *     m ← β₁ m + (1 - β₁) g      v ← β₂ v + (1 - β₂) g²      w ← shrink · w - rate · m / (√v / correction + ε)
 *
 * Where `finite`, a bool that the device may have computed, is given and false, nothing changes. `AdamWUpdate` returns nothing. Core's `adamW` uses it where it is registered and none of the three shares its buffer.
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type WebGPUKernel } from './backend.ts';
import { dispatch } from './dispatch.ts';

const update: WebGPUKernel = (inputs, attrs, backend) => {
  const [w, m, v, g] = ['variable', 'm', 'v', 'gradient'].map((name) => input(inputs, name)) as [
    tf.TensorInfo,
    tf.TensorInfo,
    tf.TensorInfo,
    tf.TensorInfo,
  ];
  const { finite } = inputs;
  const elements = tf.util.sizeFromShape(w.shape);
  if (elements === 0) return [];
  const [type, width] = elements % 4 === 0 ? ['vec4f', 4] : ['f32', 1];
  const rates = ['beta1', 'beta2', 'correction', 'epsilon', 'shrink', 'rate'].map(
    (name) => [name, ['f32', attrs[name] as number]] as const,
  );
  dispatch(backend, {
    key: 'adamW',
    inputs: { g: [g, type], ...(finite && { finite: [finite, 'i32'] as const }) },
    outputs: { w: [w, type], m: [m, type], v: [v, type] },
    // 1 - β in double precision
    uniforms: {
      ...Object.fromEntries(rates),
      rest1: ['f32', 1 - attrs['beta1']],
      rest2: ['f32', 1 - attrs['beta2']],
      size: ['u32', elements / width],
    },
    workgroups: Math.ceil(elements / width / 64),
    code: () => `
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) local: u32) {
  let i = flat(group, groups) * 64 + local;
  if (i >= u.size${finite ? ' || finite[0] == 0' : ''}) { return; }
  let first = m[i] * u.beta1 + g[i] * u.rest1;
  let second = v[i] * u.beta2 + g[i] * g[i] * u.rest2;
  m[i] = first;
  v[i] = second;
  w[i] = w[i] * u.shrink - first / (sqrt(second) / u.correction + u.epsilon) * u.rate;
}`,
  });
  return [];
};

export const adamWs: Kernels = { AdamWUpdate: update };
