/** A step of gradient descent in place, w ← w - rate · g, several variables in a kernel. Nothing changes where `finite` is given and false. */
import { input, type Kernels } from '../backend.ts';
import { updateTogether, whereFinite } from './together.ts';

export const descents: Kernels = {
  SgdUpdateAll(inputs, { count, rate }, backend) {
    updateTogether(backend, {
      key: 'sgd',
      updates: Array.from({ length: count }, (_, i) => ({
        changed: { w: input(inputs, `variable${i}`) },
        read: { g: input(inputs, `gradient${i}`) },
      })),
      ...whereFinite(inputs['finite']),
      uniforms: { rate: ['f32', rate] },
      element: (of) => `${of('w')} -= ${of('g')} * u.rate;`,
    });
    return [];
  },
};
