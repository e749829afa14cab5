/**
 * Batch norms whose output is read by ReLUs alone: in a training step the norm's kernel clips what it makes (`batch-norm.ts`), and the
 * ReLUs find their work done. One pass over memory forward and one backward are spared, and no mask waits: backward knows y from x.
 */
import * as tf from '@tensorflow/tfjs-core';
import { type Container, type Layer, lastReads, orderOf, type Tensors, toList } from './tfjs-layers.ts';

export interface Relus {
  readonly layers: readonly Layer[];
  /** What they clip to, from 0 on. */
  readonly max: number;
}

/** Of each batch norm of `containers` whose output reaches nothing else, the ReLUs of one kind that read it. */
export function relusBehind(containers: readonly Container[]): ReadonlyMap<Layer, Relus> {
  const found = new Map<Layer, Relus>();
  for (const container of containers) {
    const order = orderOf(container);
    const read = lastReads(order);
    for (const t of order) {
      const norm = t.sourceLayer;
      if (norm.getClassName() !== 'BatchNormalization' || norm.inboundNodes.length > 1 || container.outputs.includes(t) || !read.has(t))
        continue;
      const layers = order.flatMap(({ inputs, sourceLayer }) => (inputs.includes(t) ? sourceLayer : []));
      const [max, ...others] = new Set(layers.map(maxOf));
      if (max !== undefined && others.length === 0) found.set(norm, { layers, max });
    }
  }
  return found;
}

/** What a layer clips to; undefined if it is no ReLU, or somebody's own. */
function maxOf(layer: Layer): number | undefined {
  if (Object.hasOwn(layer, 'call')) return undefined;
  const type = layer.getClassName() === 'Activation' ? layer.activation?.getClassName() : layer.getClassName();
  if (type === 'relu') return Number.POSITIVE_INFINITY;
  if (type === 'relu6') return 6;
  const { maxValue } = layer;
  return type === 'ReLU' && !(maxValue! <= 0) ? (maxValue ?? Number.POSITIVE_INFINITY) : undefined;
}

/** Outputs of batch norms that are clipped. */
const clipped = new WeakSet<tf.Tensor>();

export function markClipped(y: tf.Tensor): tf.Tensor {
  clipped.add(y);
  return y;
}

/** The `call` of a ReLU. */
export function relu(layer: Layer, original: Layer['call']): Layer['call'] {
  const six = layer.getClassName() === 'ReLU' && layer.maxValue === 6;
  return (inputs, kwargs): Tensors => {
    const [x] = toList(inputs);
    if (clipped.has(x!)) return x!;
    // tfjs composes a clipped ReLU of two ops and leaves the first one's result behind.
    return six ? tf.relu6(x!) : tf.tidy(() => original.call(layer, inputs, kwargs));
  };
}
