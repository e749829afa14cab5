/** What the layers of this folder share: shapes, and the tensors that tfjs calls a layer with. */
import type * as tf from '@tensorflow/tfjs-core';

export type Shape = (number | null)[];
export type Called = tf.Tensor | tf.Tensor[];

export interface LayerConfig {
  readonly name?: string;
  readonly trainable?: boolean;
}

export const listOf = <T>(value: T | T[]): T[] => (Array.isArray(value) ? value : [value]);
export const only = (inputs: Called): tf.Tensor => listOf(inputs)[0]!;
/** One shape, or the first of several. */
export const firstShape = (shape: Shape | Shape[]): Shape => (Array.isArray(shape[0]) ? shape[0] : (shape as Shape));
