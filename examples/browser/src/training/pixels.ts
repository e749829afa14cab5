/** Pictures as the network wants them: [n, size, size, 3] in [-1, 1]. Closes the bitmaps. */
import * as tf from '@tensorflow/tfjs-core';

export function imagesOf(bitmaps: readonly ImageBitmap[], size: number): tf.Tensor4D {
  const context = new OffscreenCanvas(size, size).getContext('2d', { willReadFrequently: true })!;
  context.imageSmoothingQuality = 'high';
  const values = new Float32Array(bitmaps.length * size * size * 3);
  let at = 0;
  for (const bitmap of bitmaps) {
    context.drawImage(bitmap, 0, 0, size, size);
    bitmap.close();
    const { data } = context.getImageData(0, 0, size, size); // RGBA
    for (let i = 0; i < data.length; i++) if (i % 4 < 3) values[at++] = data[i]! / 127.5 - 1;
  }
  return tf.tensor4d(values, [bitmaps.length, size, size, 3]);
}
