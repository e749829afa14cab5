/** Values that are read while the program goes on: in pages on webgpu a value cannot be had at once. */
import * as tf from '@tensorflow/tfjs-core';

/** True where a value cannot be read at once. */
export const readsOnTheSide = (): boolean => tf.getBackend() === 'webgpu' && typeof OffscreenCanvas !== 'undefined';

/** Borrows; undefined if the device is lost, which the step's own reads report. */
export async function readAside(value: tf.Scalar): Promise<number | undefined> {
  const copy = tf.keep(tf.clone(value));
  try {
    return (await copy.data())[0];
  } catch {
    return undefined;
  } finally {
    copy.dispose();
  }
}
