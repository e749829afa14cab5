/** What is trained, saved and loaded here: a small net of convolutions, norms and dense layers, with an adapter on it. */

import { finetune, type Tuned } from '@leantune/core';
import { lora } from '@leantune/lora';
import * as tf from '@tensorflow/tfjs';

export const CLASSES = 4;
const SIZE = 12;

/** The same weights in every process. */
export function makeModel(): tf.LayersModel {
  const kernelInitializer = (seed: number) => tf.initializers.glorotUniform({ seed });
  const conv = (filters: number, seed: number, inputShape?: [number, number, number]) =>
    tf.layers.conv2d({
      name: `conv_${seed}`,
      filters,
      kernelSize: 3,
      strides: 2,
      padding: 'same',
      useBias: false,
      kernelInitializer: kernelInitializer(seed),
      ...(inputShape ? { inputShape } : {}),
    });
  return tf.sequential({
    layers: [
      conv(8, 1, [SIZE, SIZE, 3]),
      tf.layers.batchNormalization({ name: 'norm_1' }),
      tf.layers.reLU({ name: 'relu_1' }),
      conv(16, 2),
      tf.layers.batchNormalization({ name: 'norm_2' }),
      tf.layers.reLU({ name: 'relu_2' }),
      tf.layers.flatten({ name: 'flat' }),
      tf.layers.dense({ name: 'hidden', units: 32, activation: 'relu', kernelInitializer: kernelInitializer(3) }),
      tf.layers.dense({ name: 'head', units: CLASSES, kernelInitializer: kernelInitializer(4) }),
    ],
  });
}

/** LoRA on convolutions and dense layers; the norms train too, and move their statistics. */
export const tune = (model: tf.LayersModel): Tuned<tf.LayersModel> =>
  finetune(model, [lora({ r: 4, lora_alpha: 8, seed: 5 })], { trainable: ['norm_1', 'norm_2'] });

/** Gratings of four directions, under noise: images [n, 12, 12, 3], one-hot labels [n, 4]. */
export function gratings(n: number, seed: number): { images: tf.Tensor4D; labels: tf.Tensor2D } {
  return tf.tidy(() => {
    const kinds = Array.from({ length: n }, (_, i) => i % CLASSES);
    const pixels = kinds.flatMap((kind, i) => {
      const angle = (Math.PI * kind) / CLASSES;
      const wave = (p: number) => Math.sin(1.5 * ((p % SIZE) * Math.cos(angle) + Math.floor(p / SIZE) * Math.sin(angle)) + i);
      return Array.from({ length: SIZE * SIZE }, (_, p) => wave(p)).flatMap((value) => [value, value, value]);
    });
    const noise = tf.randomNormal([n, SIZE, SIZE, 3], 0, 0.5, 'float32', seed);
    return {
      images: tf.add(tf.tensor4d(pixels, [n, SIZE, SIZE, 3]), noise) as tf.Tensor4D,
      labels: tf.oneHot(tf.tensor1d(kinds, 'int32'), CLASSES).toFloat() as tf.Tensor2D,
    };
  });
}
