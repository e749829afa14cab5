/** Labelled images as tensors, and the arithmetic that every image loader shares. */
import * as tf from '@tensorflow/tfjs-core';

export interface ImageSet {
  /** [n, size, size, 3], float32 in [-1, 1]. */
  readonly images: tf.Tensor4D;
  /** [n, classes], one-hot. */
  readonly labels: tf.Tensor2D;
}

export interface ImageData {
  readonly train: ImageSet;
  readonly test: ImageSet;
  readonly classes: readonly string[];
  dispose(): void;
}

/** A raw image: `side * side * channels` values in [0, 1], and the index of its class. */
export interface RawImage {
  readonly pixels: ArrayLike<number>;
  readonly label: number;
}

/**
 * Resizes (bilinear), maps [0, 1] to [-1, 1] and repeats a gray channel three times.
 *
 * @param side side of the raw images, which have 1 or 3 channels
 */
export function imageSet(raw: readonly RawImage[], side: number, size: number, classes: number): ImageSet {
  return tf.tidy(() => {
    const channels = (raw[0]?.pixels.length ?? 0) / side ** 2;
    const values = new Float32Array(raw.length * side * side * channels);
    raw.forEach(({ pixels }, index) => values.set(pixels, index * pixels.length));
    const small = tf.tensor4d(values, [raw.length, side, side, channels]);
    const resized = tf.image.resizeBilinear(small, [size, size]).mul(2).sub(1);
    const images = channels === 1 ? resized.tile([1, 1, 1, 3]) : resized;
    const indices = tf.tensor1d(
      raw.map(({ label }) => label),
      'int32',
    );
    const labels = tf.oneHot(indices, classes, 1, 0, 'float32');
    return { images: images as tf.Tensor4D, labels: labels as tf.Tensor2D };
  });
}

/** Both sets, with one way to dispose of them. */
export function imageData(train: ImageSet, test: ImageSet, classes: readonly string[]): ImageData {
  return { train, test, classes, dispose: () => tf.dispose([train.images, train.labels, test.images, test.labels]) };
}
