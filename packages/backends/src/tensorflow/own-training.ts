/**
 * Batch norm in training, the gradient of the error function and gradient descent as ops of our own (native/tensorflow/training.cc).
 * `batch-norm-train.ts` and `sgd.ts` have TensorFlow's, of which a step takes more, and which wait longer for their threads.
 */
import * as tf from '@tensorflow/tfjs-core';
import type { Attrs } from '../kernels.ts';
import { type OwnKernel, own, running } from './own-op.ts';
import { float, withOps } from './raw.ts';
import { descents } from './sgd.ts';

/** From this many weights on, TensorFlow's ops, which write where the weights lie, take less time than one that makes moved weights. */
const LARGE = 2 ** 18;

const epsilon = ({ varianceEpsilon }: Attrs) => ({ epsilon: float(varianceEpsilon) });
const momentum = (attrs: Attrs) => ({ ...epsilon(attrs), momentum: float(attrs['momentum']) });
const max = (attrs: Attrs) => ({ max: float(attrs['max']) });
const given = ['x', 'scale', 'offset', 'movingMean', 'movingVariance'];
const read = ['dy', 'x', 'mean', 'variance', 'scale'];
const floats = (count: number): tf.DataType[] => new Array(count).fill('float32');

export const ownTraining: { readonly [kernel: string]: OwnKernel } = {
  BatchNormTrain: own('BatchNormTrain', given, momentum, floats(5)),
  BatchNormTrainGrad: own('BatchNormTrainGrad', read, epsilon, floats(3)),
  BatchNormReluTrain: own('BatchNormReluTrain', given, (attrs) => ({ ...momentum(attrs), ...max(attrs) }), floats(5)),
  BatchNormReluTrainGrad: own('BatchNormReluTrainGrad', [...read, 'offset'], (attrs) => ({ ...epsilon(attrs), ...max(attrs) }), floats(3)),
  ErfGrad: own('ErfGrad', ['dy', 'x']),
  SgdUpdate: running(['Descend'], (inputs, attrs, backend) => {
    const { variable, gradient } = inputs;
    if (tf.util.sizeFromShape(variable!.shape) >= LARGE) return descents['SgdUpdate']!(inputs, attrs, backend);
    return withOps(backend, ({ constant, release, run }) => {
      const moved = run('LeantuneDescend', {}, [variable!, gradient!, constant(Float32Array.of(attrs['rate']), [])]);
      const entry = backend.tensorMap.get(variable!.dataId);
      backend.binding.deleteTensor(entry.id);
      Object.assign(entry, { id: release(moved).id, shape: variable!.shape });
      return variable!;
    });
  }),
};
