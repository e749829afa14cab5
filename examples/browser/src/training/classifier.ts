/** Pictures [n, size, size, 3] in [-1, 1] -> probabilities [n, classes]: the pretrained network, and a head that has learnt nothing yet. */
import type { io } from '@tensorflow/tfjs-core';
import { initializers, type LayersModel, layers, loadLayersModel, type Sequential, sequential } from '@tensorflow/tfjs-layers';
import { HEAD } from './modes.ts';

const FEATURES = 1280;

export async function classifier(from: string | io.IOHandler, classes: number): Promise<LayersModel> {
  const backbone = (await loadLayersModel(from)) as Sequential;
  const kernelInitializer = initializers.glorotUniform({ seed: 1 });
  const dense = layers.dense({ name: HEAD, units: classes, activation: 'softmax', kernelInitializer, inputShape: [FEATURES] });
  return sequential({ layers: [backbone, dense] });
}
