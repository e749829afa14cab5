/** A value on a tape, and how its gradient gathers. */
import * as tf from '@tensorflow/tfjs-core';
import { FinetuneError } from '../errors.ts';
import { probes } from '../memory/probe.ts';
import { recordedNow, updatedInPlace } from './fused.ts';

export interface Shape {
  readonly shape: number[];
  readonly dtype: tf.DataType;
}

/** A differentiable value, and the gradient gathered for it so far: of its shape, or to be broadcast to it. */
export interface Slot extends Shape {
  grad: tf.Tensor | undefined;
  readonly leaf: boolean;
}

/** Adds `dx`, which belongs to the slot from now on. `spreads`: it may be smaller, to be broadcast. `what` it is the gradient of, for errors. */
export function gather(slot: Slot, dx: tf.Tensor | undefined, spreads: boolean, what: string): void {
  const who = `Error in gradient for ${what}`;
  if (!dx) throw new FinetuneError('no-gradient', 'tape', `${who} is wanted, but its rule gave none.`);
  if (dx.dtype !== 'float32') throw new Error(`${who} must have 'float32' dtype, but has '${dx.dtype}'`);
  if (!spreads && !tf.util.arraysEqual(dx.shape, slot.shape)) {
    throw new Error(`${who} has shape '${dx.shape}', which does not match the shape of the input '${slot.shape}'`);
  }
  const before = slot.grad;
  if (before && addedTo(before, dx)) {
    dx.dispose();
    return;
  }
  set(slot, before ? tf.add(before, dx) : dx);
  if (before) tf.dispose([before, dx]);
}

/** Adds in place, where the backend can, nothing else sees the sum, and no second derivative will ask what it was made of. */
const addedTo = (sum: tf.Tensor, x: tf.Tensor): boolean => !recordedNow() && updatedInPlace('AddTo', { changed: { sum }, read: { x } }, {});

/** The gradient of a slot in its full shape. */
export function whole(slot: Slot): tf.Tensor {
  const grad = slot.grad!;
  if (tf.util.arraysEqual(grad.shape, slot.shape)) return grad;
  set(slot, slot.shape.includes(0) ? tf.zeros(slot.shape) : tf.broadcastTo(grad, slot.shape));
  grad.dispose();
  return slot.grad!;
}

function set(slot: Slot, grad: tf.Tensor): void {
  slot.grad = grad;
  if (slot.leaf) for (const probe of probes) probe.gradient(grad.dataId);
}

/** Of the gradients that are there. */
export const gradientBytes = (slots: readonly Slot[]): number =>
  slots.reduce((bytes, { grad }) => bytes + (grad && !grad.isDisposed ? 4 * grad.size : 0), 0);

/** A tensor without a value: what a gradient gets that reads only a shape. */
export const ghost = ({ shape, dtype }: Shape): tf.Tensor => new tf.Tensor(shape, dtype, {}, -1);
