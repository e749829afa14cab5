/** Pretrained convolutional networks, as their authors converted them: BatchNorm separate in two, folded in the third. */
import { join } from 'node:path';
import { type GraphModel, loadGraphModel } from '@tensorflow/tfjs-converter';
import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, loadLayersModel } from '@tensorflow/tfjs-layers';
import { fetchPackage } from './fetch-package.ts';
import { humanPackage, mobilenetV2Package, resnet50Package } from './packages.ts';
import { readModel, resizeInputs } from './saved-model.ts';

export interface VisionOptions {
  /**
   * Side of the images in pixels, a multiple of 32.
   * @default 224
   */
  readonly size?: number;
}

/**
 * MobileNetV2-0.35 without its head: images [n, size, size, 3] in [-1, 1] -> features [n, 1280].
 * 410,208 parameters; 35 Conv2D, 17 DepthwiseConv2D, 52 BatchNormalization. A Sequential of a nested Model and a pooling.
 *
 * @param options a `size` of null takes images of any
 */
export async function mobilenetV2({ size = 224 }: { readonly size?: number | null } = {}): Promise<LayersModel> {
  const folder = join(await fetchPackage(mobilenetV2Package), 'src/model');
  const handler = await readModel(folder, 'model.json', (json) => {
    resizeInputs(json, size);
    // The file is a Sequential of [backbone, head]; the head tells cats from dogs.
    json.modelTopology = { ...json.modelTopology, ...json.modelTopology.config.layers[0] };
  });
  return loadLayersModel(handler, { strict: false });
}

/**
 * Keras ResNet-50 with its 1000-class ImageNet head: images [n, size, size, 3], BGR minus [103.939, 116.779, 123.68]
 * (see {@link resnet50Input}) -> probabilities [n, 1000]. 25,636,712 parameters; 53 Conv2D, 53 BatchNormalization.
 */
export async function resnet50({ size = 224 }: VisionOptions = {}): Promise<LayersModel> {
  const folder = join(await fetchPackage(resnet50Package), 'ResNet50');
  return loadLayersModel(await readModel(folder, 'model.json', (json) => resizeInputs(json, size)));
}

/** What Keras' ResNet-50 wants, of images in [-1, 1]: BGR in [0, 255] minus the mean of ImageNet. */
export function resnet50Input(images: tf.Tensor4D): tf.Tensor4D {
  return tf.tidy(() => images.add(1).mul(127.5).reverse(3).sub([103.939, 116.779, 123.68]));
}

/** The deepest layer of {@link centerNet} before its detection head. */
export const centerNetFeatures = 'tower_0/extern1/hard_swish/mul_1';

/**
 * The MobileNetV3 of a CenterNet that finds the 80 kinds of object of COCO, a GraphModel with BatchNorm folded into its
 * convolutions: images [n, size, size, 3] in [0, 255]. `execute(images, centerNetFeatures)` gives [n, size/32, size/32, 480].
 */
export async function centerNet({ size = 512 }: VisionOptions = {}): Promise<GraphModel> {
  const folder = join(await fetchPackage(humanPackage), 'models');
  return loadGraphModel(await readModel(folder, 'centernet.json', (json) => resizeInputs(json, size)));
}
