/**
 * Gradients divided by the scale of their loss, in place, and whether all of them are finite, as many in one kernel as it may bind: what
 * torch calls _amp_foreach_non_finite_check_and_unscale_.
 *
 *   Unscale    inputs: the gradients, any names; attrs.factor → a bool of one element
 *
 * Nothing else may read their buffers. They are multiplied also where one of them is not finite.
 */
import type * as tf from '@tensorflow/tfjs-core';
import type { Kernels } from '../backend.ts';
import { updateTogether } from '../optimizers/together.ts';

export const unscales: Kernels = {
  Unscale(inputs, { factor }, backend): tf.TensorInfo {
    const finite = backend.makeTensorInfo([1], 'bool', Uint8Array.of(1));
    updateTogether(backend, {
      key: 'unscale',
      updates: Object.values(inputs).map((g) => ({ changed: { g: g! } })),
      outputs: { finite: [finite, 'atomic<i32>'] },
      uniforms: { factor: ['f32', factor] },
      each: 8,
      begin: 'var wrong = false;',
      element: (of) => `wrong = wrong || any((bitcast<U>(${of('g')}) & U(0x7f800000u)) == U(0x7f800000u)); ${of('g')} *= u.factor;`,
      end: 'if (wrong) { atomicStore(&finite[0], 0); }',
    });
    return finite;
  },
};
