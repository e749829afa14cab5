/** Tensors that have channels first (NCHW) are transposed, computed, and transposed back: no kernel here reads them as they are. */
import * as tf from '@tensorflow/tfjs-core';
import { type Attrs, run, type WasmBackend } from './backend.ts';

export const isChannelsFirst = (attrs: Attrs): boolean => attrs.dataFormat === 'NCHW';

/** [b, c, h, w] -> [b, h, w, c]. The caller disposes the result. */
export const channelsLast = (backend: WasmBackend, x: tf.TensorInfo): tf.TensorInfo =>
  run(backend, tf.Transpose, { x }, { perm: [0, 2, 3, 1] });

/** [b, h, w, c] -> [b, c, h, w]. The caller disposes the result. */
export const channelsFirst = (backend: WasmBackend, x: tf.TensorInfo): tf.TensorInfo =>
  run(backend, tf.Transpose, { x }, { perm: [0, 3, 1, 2] });

/** The attributes of the same convolution for channels last; padding per side moves with its axis. */
export function channelsLastAttrs(attrs: Attrs): Attrs {
  const { pad } = attrs;
  return { ...attrs, dataFormat: 'NHWC', pad: Array.isArray(pad) ? [pad[0], pad[2], pad[3], pad[1]] : pad };
}

/** A bias or slope per channel, [c], or of rank 3, [c, h, w], as it broadcasts over channels last. The caller disposes the result. */
export const weightsLast = (backend: WasmBackend, x: tf.TensorInfo): tf.TensorInfo =>
  run(backend, tf.Transpose, { x }, { perm: [[], [0], [0, 1], [1, 2, 0], [0, 2, 3, 1]][x.shape.length] });
