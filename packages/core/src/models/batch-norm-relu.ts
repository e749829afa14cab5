/**
 * Batch norms whose output is read by ReLUs alone: in a training step the norm's kernel clips what it makes (`batch-norm.ts`), and the
 * ReLUs find their work done. Their own passes over memory are spared, and no mask is made or waits: backward knows y from x.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Container, type Layer, lastReads, orderOf, type Tensors, toList } from './tfjs-layers.ts';

/** Of each batch norm of `container` whose output reaches nothing else in it, the layers that read it. */
export function readersOfNorms(container: Container): ReadonlyMap<Layer, readonly Layer[]> {
  const order = orderOf(container);
  const read = lastReads(order);
  const inside = order.filter(
    (t) =>
      t.sourceLayer.getClassName() === 'BatchNormalization' &&
      t.sourceLayer.inboundNodes.length === 1 &&
      !container.outputs.includes(t) &&
      read.has(t),
  );
  return new Map(inside.map((t) => [t.sourceLayer, order.flatMap(({ inputs, sourceLayer }) => (inputs.includes(t) ? sourceLayer : []))]));
}

/** What all `layers` clip to, from 0 on; undefined if they differ, or are no ReLUs. */
export function clippedTo(layers: readonly Layer[]): number | undefined {
  const [max, ...others] = new Set(layers.map(maxOf));
  return others.length === 0 ? max : undefined;
}

/** What a layer clips to; undefined if it is no ReLU. */
function maxOf(layer: Layer): number | undefined {
  const type = layer.getClassName() === 'Activation' ? layer.activation?.getClassName() : layer.getClassName();
  if (type === 'relu') return Number.POSITIVE_INFINITY;
  if (type === 'relu6') return 6;
  const most = layer.maxValue ?? Number.POSITIVE_INFINITY;
  return type === 'ReLU' && most > 0 ? most : undefined;
}

/** Outputs of batch norms that are clipped. */
const clipped = new WeakSet<tf.Tensor>();

export function markClipped(y: tf.Tensor): tf.Tensor {
  clipped.add(y);
  return y;
}

/** The `call` of a layer that may be a ReLU: it hands on what a norm has clipped. */
export function relu(layer: Layer, original: Layer['call']): Layer['call'] {
  const stock = layer.getClassName() === 'ReLU' && !Object.hasOwn(layer, 'call');
  return (inputs, kwargs): Tensors => {
    const [x] = toList(inputs);
    if (clipped.has(x!)) return x!;
    // tfjs composes a clipped ReLU of two ops and leaves the first one's result behind.
    return stock && layer.maxValue === 6 ? tf.relu6(x!) : tf.tidy(() => original.call(layer, inputs, kwargs));
  };
}
