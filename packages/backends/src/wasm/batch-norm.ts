/**
 * Batch normalization with statistics per channel, lanes being channels; tfjs's is a scalar loop with a square root and a division an element.
 * In training one kernel each way, also with a ReLU behind it, for core's `BatchNormTrain` and `BatchNormReluTrain`: tfjs's ops make some
 * eight passes over memory forward and twenty backward, these two and two.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs, KernelMap } from '../kernels.ts';
import { assertFloat, input, type Kernels, makeFloats, offset, places, type Stock, type WasmBackend, type WasmKernel } from './backend.ts';
import { native } from './native.ts';

/** In place of what a ReLU clips to, where there is none. */
const NO_RELU = -1;

const channelsOf = ({ shape }: tf.TensorInfo): number => shape.at(-1) ?? 1;
const rowsOf = (x: tf.TensorInfo): number => tf.util.sizeFromShape(x.shape) / Math.max(channelsOf(x), 1);
function normalize(inputs: tf.NamedTensorInfoMap, backend: WasmBackend, epsilon: number, max: number): tf.TensorInfo {
  const x = input(inputs, 'x');
  const y = backend.makeOutput(x.shape, 'float32');
  const given = places(inputs, backend, ['x', 'mean', 'variance', 'scale', 'offset']);
  const { batchNorm, scratch } = native(backend);
  batchNorm(...given, offset(backend, y), rowsOf(x), channelsOf(x), epsilon, max, scratch);
  return y;
}

export const batchNorms = (stock: Stock): Kernels => {
  const batchNorm: WasmKernel = (inputs, attrs, backend) => {
    const x = input(inputs, 'x');
    const given = Object.values(inputs).filter((value) => value !== undefined && value !== null && value !== x);
    const perChannel = given.every((value) => value?.dtype === 'float32' && value.shape.length === 1 && value.shape[0] === channelsOf(x));
    if (!perChannel || x.dtype !== 'float32') return stock(tf.FusedBatchNorm)(inputs, attrs, backend);
    return normalize(inputs, backend, attrs.varianceEpsilon, NO_RELU);
  };
  return { [tf.FusedBatchNorm]: batchNorm };
};

/** y, mean, variance, and the moving statistics moved. */
function forward(
  inputs: tf.NamedTensorInfoMap,
  { varianceEpsilon, momentum, max = NO_RELU }: Attrs,
  backend: WasmBackend,
): tf.TensorInfo[] {
  assertFloat('BatchNormTrain', inputs);
  const x = input(inputs, 'x');
  const statistics = makeFloats(backend, Array(4).fill([channelsOf(x)]));
  const [mean, variance, meanAfter, varianceAfter] = statistics.map((one) => offset(backend, one)) as [number, number, number, number];
  const [at, meanBefore, varianceBefore] = places(inputs, backend, ['x', 'movingMean', 'movingVariance']);
  const sizes = [rowsOf(x), channelsOf(x)] as const;
  native(backend).batchNormMoments(at, mean, variance, meanBefore, varianceBefore, meanAfter, varianceAfter, ...sizes, momentum);
  const y = normalize({ ...inputs, mean: statistics[0]!, variance: statistics[1]! }, backend, varianceEpsilon, max);
  return [y, ...statistics];
}

/** dx, dscale, doffset. */
function backward(inputs: tf.NamedTensorInfoMap, { varianceEpsilon, max = NO_RELU }: Attrs, backend: WasmBackend): tf.TensorInfo[] {
  assertFloat('BatchNormTrainGrad', inputs);
  const x = input(inputs, 'x');
  const made = makeFloats(backend, [x.shape, [channelsOf(x)], [channelsOf(x)]]);
  const given = places(inputs, backend, ['dy', 'x', 'mean', 'variance', 'scale', 'offset']);
  const [dx, dscale, doffset] = made.map((one) => offset(backend, one)) as [number, number, number];
  const { batchNormGradient, scratch } = native(backend);
  batchNormGradient(...given, dx, dscale, doffset, rowsOf(x), channelsOf(x), varianceEpsilon, max, scratch);
  return made;
}

export const batchNormTraining: KernelMap<WasmBackend, tf.TensorInfo[]> = {
  BatchNormTrain: forward,
  BatchNormTrainGrad: backward,
  BatchNormReluTrain: forward,
  BatchNormReluTrainGrad: backward,
};
