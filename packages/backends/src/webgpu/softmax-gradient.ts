/**
 * Backward of softmax over the last axis, a row at a time and without temporaries: dx = (dy - Σ dy y) · y. The kernel `SoftmaxGrad` of
 * { dy, y }; core's gradient rule uses it where it is registered.
 */
import { input, type Kernels } from './backend.ts';
import { overRows } from './rows.ts';

export const softmaxGradients: Kernels = {
  SoftmaxGrad: (inputs, _, backend) => {
    const [dy, y] = [input(inputs, 'dy'), input(inputs, 'y')];
    return overRows(backend, 'softmaxGradient', { dy, y }, y.shape, 'dy[at] * y[at]', '(dy[at] - sum) * y[at]');
  },
};
