/**
 * A step of AdamW in place, several variables in a kernel: reads the gradient, moves the weights and both moments, makes no temporaries.
 *
 *     m ← β₁ m + (1 - β₁) g      v ← β₂ v + (1 - β₂) g²      w ← shrink · w - rate · m / (√v / correction + ε)
 *
 * Where `finite`, a bool that the device may have computed, is given and false, nothing changes. `AdamWUpdateAll` returns nothing. Core's
 * `adamW` uses it where it is registered, for variables of which none of the three shares its buffer.
 */

import { input, type Kernels } from '../backend.ts';
import { type Update, updateTogether, whereFinite } from './together.ts';

const common = ['beta1', 'beta2', 'correction', 'epsilon', 'rate'];

export const adamWs: Kernels = {
  AdamWUpdateAll(inputs, attrs, backend) {
    const updates = attrs['shrink'].map((shrink: number, i: number): Update => {
      const [w, m, v, g] = ['variable', 'm', 'v', 'gradient'].map((name) => input(inputs, `${name}${i}`));
      return { changed: { w: w!, m: m!, v: v! }, read: { g: g! }, numbers: { shrink } };
    });
    updateTogether(backend, {
      key: 'adamW',
      updates,
      ...whereFinite(inputs['finite']),
      uniforms: {
        ...Object.fromEntries(common.map((name) => [name, ['f32', attrs[name]] as const])),
        rest1: ['f32', 1 - attrs['beta1']], // in double precision
        rest2: ['f32', 1 - attrs['beta2']],
      },
      element: (of) => `
    let first = ${of('m')} * u.beta1 + ${of('g')} * u.rest1;
    let second = ${of('v')} * u.beta2 + ${of('g')} * ${of('g')} * u.rest2;
    ${of('m')} = first; ${of('v')} = second;
    ${of('w')} = ${of('w')} * ${of('shrink')} - first / (sqrt(second) / u.correction + u.epsilon) * u.rate;`,
    });
    return [];
  },
};
