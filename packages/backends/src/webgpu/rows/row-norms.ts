/**
 * Layer norm and RMS norm over the last axis as one kernel each, and their gradients: dx as one more, which leaves what each row was shifted
 * and scaled by for the sum over rows that is dw. The kernels `LayerNorm` of { x, weight, bias }, `RmsNorm` of { x, weight } and the two
 * `…Grad` of what those read, of @leantune/transformers, which elsewhere are some ten ops, and thirty. Core looks for the
 * gradients as `Fused…Grad`.
 * Ba et al. 2016, arXiv 1607.06450; Zhang & Sennrich 2019, arXiv 1910.07467.
 *
 *     x̂ = (x − mean) · r,  y = w · x̂ + b,  g = w · dy     dx = r · (g − mean(g) − x̂ · mean(g · x̂))     dw = Σ dy · x̂     db = Σ dy
 *     r = 1 / √(mean((x − mean)²) + ε)                    RMS: the same where mean and mean(g) are 0, and no b
 */
import * as tf from '@tensorflow/tfjs-core';
import { input, type Kernels, type WebGPUBackend, type WebGPUKernel, withTemporaries } from '../backend.ts';
import { type RowSum, rowPasses } from './rows.ts';
import { sumColumns } from './sum-columns.ts';

interface Norm {
  readonly kernel: string;
  /** WGSL of x − mean, and of g − mean(g). */
  readonly x: string;
  readonly g: string;
  readonly center: readonly RowSum[];
  readonly level: readonly RowSum[];
}

const mean = 'sum / f32(u.columns)';
const layer: Norm = {
  kernel: 'LayerNorm',
  x: '(x[at] - center)',
  g: '(weight[k] * dy[at] - level)',
  center: [{ name: 'center', term: 'x[at]', value: mean }],
  level: [{ name: 'level', term: 'weight[k] * dy[at]', value: mean }],
};
const rms: Norm = { kernel: 'RmsNorm', x: 'x[at]', g: 'weight[k] * dy[at]', center: [], level: [] };

const scaleOf = ({ center, x }: Norm): RowSum[] => [...center, { name: 'r', term: `${x} * ${x}`, value: `1 / sqrt(${mean} + u.epsilon)` }];
const slopeOf = ({ level, x }: Norm): RowSum[] => [...level, { name: 'tilt', term: `weight[k] * dy[at] * ${x} * r`, value: mean }];

/** The sum over all rows of dy [..., n], times x̂ where given: [n]. */
function overAllRows(backend: WebGPUBackend, dy: tf.TensorInfo, normal?: { x: tf.TensorInfo; ofRow: tf.TensorInfo }): tf.TensorInfo {
  const n = dy.shape.at(-1) ?? 1;
  const rows = tf.util.sizeFromShape(dy.shape) / Math.max(n, 1);
  if (rows === 0) return backend.makeTensorInfo([n], 'float32', new Float32Array(n));
  const sum = { outer: 1, rows, shape: [n] };
  if (!normal) return sumColumns(backend, dy, sum);
  const term = 'x[at] * (value[at] - shift[line].x) * shift[line].y';
  return sumColumns(backend, dy, { ...sum, term, beside: { value: normal.x }, ofRow: { shift: normal.ofRow } });
}

const forward =
  (norm: Norm): WebGPUKernel =>
  (inputs, { epsilon }, backend) => {
    const [x, weight, { bias }] = [input(inputs, 'x'), input(inputs, 'weight'), inputs];
    return rowPasses(backend, {
      key: norm.kernel,
      inputs: { x, weight, ...(bias && { bias }) },
      shape: x.shape,
      sums: scaleOf(norm),
      result: `${norm.x} * r * weight[k]${bias ? ' + bias[k]' : ''}`,
      uniforms: { epsilon: ['f32', epsilon] },
    }).result!;
  };

const gradient =
  (norm: Norm): WebGPUKernel =>
  (inputs, { epsilon, wanted }, backend) => {
    const [dy, { x, weight }] = [input(inputs, 'dy'), inputs];
    const wants = (name: string): boolean => (wanted as string[]).includes(name);
    return withTemporaries(backend, (temporary) => {
      const gradients: { [name: string]: tf.TensorInfo } = {};
      if (wants('x') || wants('weight')) {
        const made = rowPasses(backend, {
          key: `${norm.kernel}Grad ${wants('x')} ${wants('weight')}`,
          inputs: { x: x!, ...(wants('x') && { dy, weight: weight! }) },
          shape: dy.shape,
          sums: wants('x') ? [...scaleOf(norm), ...slopeOf(norm)] : scaleOf(norm),
          uniforms: { epsilon: ['f32', epsilon] },
          ...(wants('x') && { result: `r * (${norm.g} - ${norm.x} * r * tilt)` }),
          ...(wants('weight') && { ofRow: `vec2f(${norm.center[0]?.name ?? 0}, r)` }),
        });
        if (made['result']) gradients['x'] = made['result'];
        if (made['ofRow']) gradients['weight'] = overAllRows(backend, dy, { x: x!, ofRow: temporary(made['ofRow']) });
      }
      if (wants('bias')) gradients['bias'] = overAllRows(backend, dy);
      return (wanted as string[]).map((name) => gradients[name]!);
    });
  };

export const rowNorms: Kernels = Object.assign(
  {},
  ...[layer, rms].map((norm) => ({
    [norm.kernel]: forward(norm),
    [`${norm.kernel}Grad`]: gradient(norm),
    [`Fused${norm.kernel}Grad`]: gradient(norm),
  })),
);
