/**
 * Batch norm in training, for core's `BatchNormTrain`, `BatchNormReluTrain` and their gradients: two or three kernels each way, where tfjs's
 * ops take eleven and their gradients twenty.
 *
 *     y = (x - mean) r · scale + offset, r = 1 / √(variance + ε)      dx = r · scale · (dy - mean(dy) - x̂ · mean(dy x̂)), x̂ = (x - mean) r
 *
 * Mean and variance come from one pass: each thread sums x - x₀ and its square, x₀ its own first value, so that a variance does not drown in
 * a large mean, and what threads have is merged by Chan, Golub and LeVeque (Stanford STAN-CS-79-773). The moving statistics move by tfjs's
 * formula, v - (v - value)(1 - momentum).
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, input, type Kernels, type WebGPUBackend, withTemporaries } from '../backend.ts';
import { elementwise } from '../elements/elementwise.ts';
import { columnPairs, type Fold } from '../rows/column-pairs.ts';

/** a: the mean, b: the sum of squared distances from it. */
const moments: Fold = {
  key: 'batchNormMoments',
  begin: 'let origin = x[at]; var sum = T(); var squares = T();',
  each: 'let d = x[at] - origin; sum += d; squares += d * d;',
  pair: 'Pair(n, origin + sum / n, max(squares - sum * sum / n, T()))',
  merge: `let n = p.n + q.n; let d = q.a - p.a; let share = q.n / max(n, 1);
  return Pair(n, p.a + d * share, p.b + q.b + d * (d * (p.n * share)));`,
};

/** a: the sum of dy, b: that of dy (x - mean). */
const slopes: Fold = {
  key: 'batchNormSlopes',
  begin: 'let center = mean[column]; var sum = T(); var along = T();',
  each: 'sum += dy[at]; along += dy[at] * (x[at] - center);',
  pair: 'Pair(n, sum, along)',
  merge: 'return Pair(p.n + q.n, p.a + q.a, p.b + q.b);',
};

const r = 'inverseSqrt(variance + u.epsilon)';
const moved = (before: string, value: string): string => `${before}[column] - (${before}[column] - ${value}) * u.decay`;
const normalized = ({ scale, offset }: tf.NamedTensorInfoMap) => `(x - mean) * ${r}${scale ? ' * scale' : ''}${offset ? ' + offset' : ''}`;
/** The greatest float32 stands for infinity, of which WGSL need know nothing. */
const most = (max: number) => ({ max: ['f32', Math.min(max, 3.4028234663852886e38)] as const });
const extent = ({ shape }: tf.TensorInfo) => ({ rows: tf.util.sizeFromShape(shape.slice(0, -1)), columns: shape.at(-1)! });

/** y, mean, variance, and the moving statistics moved. */
function forward(inputs: tf.NamedTensorInfoMap, { varianceEpsilon, momentum, max }: Attrs, backend: WebGPUBackend): tf.TensorInfo[] {
  const x = input(inputs, 'x');
  const { scale, offset } = inputs;
  const { mean, variance, movedMean, movedVariance } = columnPairs(backend, {
    ...extent(x),
    fold: moments,
    inputs: { x },
    beside: { movingMean: input(inputs, 'movingMean'), movingVariance: input(inputs, 'movingVariance') },
    results: {
      mean: 'whole.a',
      variance: 'whole.b / f32(u.all)',
      movedMean: moved('movingMean', 'whole.a'),
      movedVariance: moved('movingVariance', 'whole.b / f32(u.all)'),
    },
    uniforms: { decay: ['f32', 1 - momentum] },
  });
  const clips = max !== undefined;
  const y = elementwise(backend, {
    key: 'batchNormTrain',
    inputs: { x, mean, variance, ...(scale && { scale }), ...(offset && { offset }) },
    shape: x.shape,
    value: clips ? `clipped(${normalized(inputs)})` : normalized(inputs),
    functions: clips ? 'fn clipped(y: T) -> T { return select(select(y, T(), y < T()), T(u.max), y > T(u.max)); }' : '',
    uniforms: { epsilon: ['f32', varianceEpsilon], ...(clips && most(max)) },
  });
  return [y, mean, variance, movedMean, movedVariance];
}

/** dx, dscale, doffset. */
function backward(inputs: tf.NamedTensorInfoMap, { varianceEpsilon }: Attrs, backend: WebGPUBackend): tf.TensorInfo[] {
  const of = (name: string): tf.TensorInfo => input(inputs, name);
  const [dy, x, mean, variance] = [of('dy'), of('x'), of('mean'), of('variance')];
  const { scale } = inputs;
  const epsilon = { epsilon: ['f32', varianceEpsilon] } as const;
  const { dscale, doffset } = columnPairs(backend, {
    ...extent(x),
    fold: slopes,
    inputs: { dy, x, mean },
    beside: { variance },
    results: { dscale: 'whole.b * inverseSqrt(variance[column] + u.epsilon)', doffset: 'whole.a' },
    uniforms: epsilon,
  });
  const dx = elementwise(backend, {
    key: 'batchNormTrainGrad',
    inputs: { dy, x, mean, variance, dscale, doffset, ...(scale && { scale }) },
    shape: x.shape,
    value: `(dy - (doffset + (x - mean) * ${r} * dscale) * u.share) * ${r}${scale ? ' * scale' : ''}`,
    uniforms: { ...epsilon, share: ['f32', 1 / extent(x).rows] },
  });
  return [dx, dscale, doffset];
}

/** Of dy where the ReLU passes it on, made first: with what says where, a pass for dx would read more buffers than every device can. */
function backwardOfRelu({ dy, ...read }: tf.NamedTensorInfoMap, { varianceEpsilon, max }: Attrs, backend: WebGPUBackend): tf.TensorInfo[] {
  const y = normalized(read);
  const passed = elementwise(backend, {
    key: 'batchNormRelu',
    inputs: { dy: dy!, ...read } as { readonly [name: string]: tf.TensorInfo },
    shape: dy!.shape,
    value: `select(T(), dy, (${y} > T()) & (${y} <= T(u.max)))`,
    uniforms: { epsilon: ['f32', varianceEpsilon], ...most(max) },
  });
  return withTemporaries(backend, (temporary) => backward({ ...read, dy: temporary(passed) }, { varianceEpsilon }, backend));
}

export const batchNormTraining: Kernels = {
  BatchNormTrain: forward,
  BatchNormTrainGrad: backward,
  BatchNormReluTrain: forward,
  BatchNormReluTrainGrad: backwardOfRelu,
};
