/**
 * Who owns weights. tfjs counts how often a layer was applied, and frees its weights at the last of as many disposals, although a model
 * disposes each layer once: weights of a layer that is applied twice stay, and those of a layer in two models go with the first.
 */
import type { LayersModel } from '@tensorflow/tfjs-layers';

interface Counted {
  _refCount: number;
}
const counted = (model: LayersModel) => model.layers as unknown as readonly Counted[];

/** Weights go when `model` is disposed. */
export function own(model: LayersModel): LayersModel {
  for (const layer of counted(model)) layer._refCount = 1;
  return model;
}

/** Weights go when both are disposed, `model` and `sharing`, which has its layers and more. */
export function share(model: LayersModel, sharing: LayersModel): LayersModel {
  const before = new Set(model.layers);
  sharing.layers.forEach((layer, i) => {
    const it = counted(sharing)[i]!;
    it._refCount = before.has(layer) ? it._refCount + 1 : 1;
  });
  return sharing;
}
