/**
 * Batch norm in training as one op each way, for core's `BatchNormTrain` and `BatchNormTrainGrad`. oneDNN's passes over memory are two
 * forward, two backward; composed of tfjs's ops they are eight and nine.
 *
 *     y = (x - mean) r · scale + offset, r = 1 / √(variance + ε)      dx = r · scale · (dy - mean(dy) - x̂ · mean(dy x̂)), x̂ = (x - mean) r
 *
 * The moving statistics move by tfjs's formula, v - (v - value)(1 - momentum), with the variance of the batch as it is: TensorFlow's own
 * moving variance is corrected by n / (n - 1).
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Kernel } from '../kernels.ts';
import { DType, type Handle, type TensorflowBackend } from './binding.ts';
import { bool, float, type Operand, type Ops, text, type, withOps } from './raw.ts';

const T = type(DType.float);
const training = (epsilon: number) => ({ T, U: T, epsilon: float(epsilon), data_format: text('NHWC'), is_training: bool(true) });

/** x as rows of channels; TensorFlow's op wants four axes. */
const images = ({ reshape }: Ops, x: tf.TensorInfo): Operand =>
  x.shape.length === 4 ? x : reshape(x, DType.float, [rowsOf(x), 1, 1, x.shape.at(-1)!]);
const shaped = ({ reshape }: Ops, y: Handle, { shape }: tf.TensorInfo): Handle => (shape.length === 4 ? y : reshape(y, DType.float, shape));
const rowsOf = ({ shape }: tf.TensorInfo): number => tf.util.sizeFromShape(shape.slice(0, -1));
const filled = ({ constant }: Ops, size: number, value: number): Handle => constant(new Float32Array(size).fill(value));

type Kernels = { readonly [kernel: string]: Kernel<TensorflowBackend, tf.TensorInfo[]> };

export const batchNormTraining: Kernels = {
  BatchNormTrain: ({ x, scale, offset, movingMean, movingVariance }, { varianceEpsilon, momentum }, backend) =>
    withOps(backend, (ops) => {
      const { constant, leave, run, runMany } = ops;
      const channels = x!.shape.at(-1)!;
      const none = constant(new Float32Array(0));
      const given = [images(ops, x!), scale ?? filled(ops, channels, 1), offset ?? filled(ops, channels, 0), none, none];
      const made = runMany('FusedBatchNormV3', { ...training(varianceEpsilon), exponential_avg_factor: float(1) }, given, 6);
      const [y, , , mean, variance] = made as [Handle, Handle, Handle, Handle, Handle];
      const decay = constant(Float32Array.of(1 - momentum), []);
      const moved = (before: tf.TensorInfo, value: Handle): Handle =>
        run('Sub', { T }, [before, run('Mul', { T }, [run('Sub', { T }, [before, value]), decay])]);
      const all = [shaped(ops, y, x!), mean, variance, moved(movingMean!, mean), moved(movingVariance!, variance)];
      return all.map((handle) => leave(handle, 'float32'));
    }),
  BatchNormTrainGrad: ({ dy, x, mean, variance, scale }, { varianceEpsilon }, backend) =>
    withOps(backend, (ops) => {
      const { constant, leave, runMany } = ops;
      const factor = scale ?? filled(ops, x!.shape.at(-1)!, 1);
      const given = [images(ops, dy!), images(ops, x!), factor, mean!, variance!, constant(new Float32Array(0))];
      const [dx, ...rest] = runMany('FusedBatchNormGradV3', training(varianceEpsilon), given, 5) as [Handle, Handle, Handle];
      return [shaped(ops, dx, x!), ...rest.slice(0, 2)].map((handle) => leave(handle, 'float32'));
    }),
};
